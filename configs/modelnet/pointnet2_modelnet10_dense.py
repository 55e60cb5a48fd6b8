"""A small PointNet++ (SSG) on ModelNet10: dense, from scratch, on a CPU."""

_base_ = [
    '../_base_/datasets/modelnet10.py',
    '../_base_/schedules/from_scratch.py',
]
custom_imports = dict(
    imports=[
        'chex_mm.engine',
        'chex_mm.engine.datasets.shapes',
        'chex_mm.engine.metrics',
        'chex_mm.engine.models.shape_classifier',
    ]
)

# The published model has 512 and 128 centres of 32 and 64 neighbours, eight
# and sixteen times the work; its widths up to the pool are the same.
model = dict(
    type='ShapeClassifier',
    backbone=dict(
        type='PointNet2SASSG',
        in_channels=3,
        num_points=(128, 32),
        radius=(0.25, 0.5),
        num_samples=(16, 16),
        sa_channels=((64, 64, 128), (128, 128, 256)),
        fp_channels=(),
    ),
    pool_channels=(256, 256, 512),
    head_channels=(256, 128),
    classes=10,
)

# As published, with Adam.
optim_wrapper = dict(optimizer=dict(lr=1e-3))
# 8 epochs of 124 batches: ten minutes on one core.
iterations = 1000
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(
        type='CosineAnnealingLR',
        eta_min=0,
        by_epoch=False,
        begin=50,
        end=iterations,
    ),
]

default_scope = 'mmdet3d'
default_hooks = dict(checkpoint=dict(interval=iterations))
