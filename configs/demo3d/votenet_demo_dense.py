"""A small VoteNet on synthetic rooms: dense, from scratch, on a CPU.

mmcv has its point operators for CUDA only; chex_mm's tools bring them for
the CPU. Elsewhere: custom_imports = dict(imports=['chex_mm.engine']).
"""

_base_ = [
    '../_base_/models/votenet_small.py',
    '../_base_/datasets/synthetic_rooms.py',
    '../_base_/schedules/from_scratch.py',
]

default_scope = 'mmdet3d'

model = dict(
    bbox_head=dict(
        num_classes=5,
        bbox_coder=dict(
            type='PartialBinBasedBBoxCoder',
            num_sizes=5,
            num_dir_bins=1,
            with_rot=False,
            # As `furniture.KINDS` has them, to either side.
            mean_sizes=[
                [0.7, 0.7, 1.4],
                [1.7, 1.7, 0.9],
                [0.5, 0.5, 0.9],
                [1.4, 1.4, 0.8],
                [1.1, 1.1, 0.75],
            ],
        ),
    ),
)

iterations = 600  # 24 epochs, four minutes on one core
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
default_hooks = dict(
    checkpoint=dict(interval=iterations),
    # Replaced, not changed: mmdet's carry their package's scope.
    visualization=dict(_delete_=True, type='Det3DVisualizationHook'),
)
visualizer = dict(
    _delete_=True,
    type='Det3DLocalVisualizer',
    vis_backends=[dict(type='LocalVisBackend')],
)
