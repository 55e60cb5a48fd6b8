"""RetinaNet-R50-FPN from scratch, 50 % of the FLOPs taken away.

Norm layers, length and warm-up follow "Rethinking ImageNet Pre-training".
"""

_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    '../../_base_/chex.py',
]

# Statistics over the batch of all GPUs: 2 images of each are too few.
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    backbone=dict(
        # Random weights: all of them have to learn.
        init_cfg=None,
        frozen_stages=-1,
        norm_eval=False,
        norm_cfg=norm_cfg,
        # A zero scale at the start would rank every residual stream last.
        zero_init_residual=False,
    ),
    neck=dict(norm_cfg=norm_cfg),
    # Convolutions shared by the 5 levels of the FPN, statistics apart: those
    # of one level are wrong for the others.
    bbox_head=dict(type='RetinaSepBNHead', num_ins=5, norm_cfg=norm_cfg),
)

optim_wrapper = dict(
    paramwise_cfg=dict(
        # Decay would pull the scales that rank the channels towards zero.
        norm_decay_mult=0,
        # The head's shared convolutions appear once per level.
        bypass_duplicate=True,
    )
)

# 6x, 540k iterations of 16 images: where random weights have caught up with
# pre-trained ones.
max_epochs = 73
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    # At the full rate the first steps from random weights may diverge.
    dict(
        type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500
    ),
    dict(
        type='MultiStepLR',
        begin=0,
        end=max_epochs,
        by_epoch=True,
        # The last 60k and 20k iterations, however long the run.
        milestones=[65, 71],
        gamma=0.1,
    ),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
