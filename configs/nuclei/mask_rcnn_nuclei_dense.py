"""A small Mask R-CNN on nuclei: dense, from scratch, on a CPU."""

_base_ = [
    '../_base_/models/mask_rcnn_small.py',
    '../_base_/datasets/nuclei_instance.py',
    '../_base_/schedules/from_scratch.py',
]

# Nuclei are 20 pixels wide: bins are narrower than a cell, where one sample
# says it all, and a mask of 14 x 14 is enough at a quarter of the cost.
one_sample = dict(sampling_ratio=1)
model = dict(
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=one_sample),
        # One class needs no more; 256 would be two fifths of the FLOPs.
        bbox_head=dict(num_classes=1, fc_out_channels=128),
        mask_roi_extractor=dict(roi_layer=dict(output_size=7, **one_sample)),
        mask_head=dict(num_classes=1, roi_feat_size=7),
    ),
    train_cfg=dict(
        # A crop holds 11 nuclei on average and up to about 80.
        rpn_proposal=dict(nms_pre=400, max_per_img=150),
        rcnn=dict(sampler=dict(num=64, pos_fraction=0.5), mask_size=14),
    ),
    test_cfg=dict(
        # The fullest image holds 369.
        rpn=dict(nms_pre=1500, max_per_img=500),
        rcnn=dict(max_per_img=400),
    ),
)

# 31 epochs of crops: a quarter of an hour on one core. After half of that
# no model has converged, and neither depth of exploration has paid off.
iterations = 2000
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
