"""A small Mask R-CNN on nuclei, dense, from scratch on a CPU."""

_base_ = [
    'mmdet::_base_/default_runtime.py',
    '../_base_/models/mask_rcnn_small.py',
    '../_base_/datasets/nuclei_instance.py',
]

model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=1),
        # Nuclei are 20 pixels wide, a mask of 14 x 14 is enough: a quarter
        # of the cost of 28 x 28, and an image may hold hundreds.
        mask_roi_extractor=dict(roi_layer=dict(output_size=7)),
        mask_head=dict(num_classes=1, roi_feat_size=7),
    ),
    train_cfg=dict(
        # A crop holds up to sixty nuclei.
        rpn_proposal=dict(nms_pre=400, max_per_img=150),
        rcnn=dict(
            sampler=dict(num=64, pos_fraction=0.5),
            mask_size=14,
        ),
    ),
    test_cfg=dict(
        # The fullest image holds 369.
        rpn=dict(nms_pre=1500, max_per_img=600),
        rcnn=dict(max_per_img=400),
    ),
)

iterations = 1200
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    # Decay would pull the scales that CHEX compares towards zero.
    paramwise_cfg=dict(norm_decay_mult=0),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        eta_min=0,
        by_epoch=False,
        begin=50,
        end=iterations,
    ),
]

default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(by_epoch=False, interval=iterations),
)
log_processor = dict(by_epoch=False, window_size=20)
randomness = dict(seed=0)
