"""A small Mask R-CNN on synthetic shapes: dense, from scratch, on a CPU."""

_base_ = [
    '../_base_/models/mask_rcnn_small.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/from_scratch.py',
]

model = dict(
    # Shapes are at most 60 pixels wide: the finest level for all of them.
    roi_head=dict(
        bbox_roi_extractor=dict(featmap_strides=[4]),
        bbox_head=dict(num_classes=4),
        mask_roi_extractor=dict(featmap_strides=[4]),
        mask_head=dict(num_classes=4),
    ),
    # An image holds six shapes: 30 proposals are as good as 100 (measured),
    # with which the mask head alone would be two thirds of the FLOPs.
    test_cfg=dict(rpn=dict(max_per_img=30)),
)

# 15 epochs, under four minutes on one core.
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
