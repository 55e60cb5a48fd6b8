"""A small Mask R-CNN on synthetic shapes: dense, from scratch, on a CPU."""

_base_ = [
    '../_base_/models/mask_rcnn_small.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/from_scratch.py',
]

model = dict(
    roi_head=dict(bbox_head=dict(num_classes=4), mask_head=dict(num_classes=4))
)

# 15 epochs, four minutes on two cores; twice as many would add little.
iterations = 600
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
default_hooks = dict(checkpoint=dict(interval=iterations))
