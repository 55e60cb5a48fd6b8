"""SSD300 on ResNet-50 from scratch, 50 % of the backbone's FLOPs taken away.

The architecture of NVIDIA's reference, which the paper prunes; trained as in
"ScratchDet".
"""

_base_ = 'mmdet::ssd/ssd300_coco.py'

norm_cfg = dict(type='SyncBN', requires_grad=True)
channels = (1024, 512, 512, 256, 256, 256)
model = dict(
    # The scale that ResNets are initialised for; the base has VGG's.
    data_preprocessor=dict(std=[58.395, 57.12, 57.375]),
    backbone=dict(
        _delete_=True,
        # Marks what is explored and what `of='scope'` counts.
        type='MaskedBackbone',
        backbone=dict(
            type='ResNet',
            depth=50,
            # Without conv5, and conv4 at stride 1: one map of 38 x 38.
            num_stages=3,
            strides=(1, 2, 1),
            dilations=(1, 1, 1),
            out_indices=(2,),
            frozen_stages=-1,
            norm_eval=False,
            norm_cfg=norm_cfg,
            # A zero scale at the start would rank every stream last.
            zero_init_residual=False,
        ),
    ),
    neck=dict(
        in_channels=channels[:1],
        out_channels=channels,
        # 38, 19, 10, 5, 3, 1: the maps that the anchors are made for.
        level_strides=(2, 2, 2, 1, 1),
        level_paddings=(1, 1, 1, 0, 0),
        # Levels VGG's map without norm layers with the others.
        l2_norm_scale=None,
        norm_cfg=norm_cfg,
    ),
    bbox_head=dict(in_channels=channels),
)

# Norm layers everywhere let SSD learn from random weights at a high rate: 0.05
# for a batch of 128, here 8 GPUs x 16.
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(
    optimizer=dict(lr=0.05),
    # As the reference; also, decay pulls the scales that rank the channels
    # towards zero.
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0),
)
auto_scale_lr = dict(base_batch_size=128)

# Times 5 repeats of COCO: 260 epochs. Pre-trained weights need 65.
max_epochs = 52
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
        milestones=[34, 46, 50],
        gamma=0.1,
    ),
]

custom_imports = dict(imports=['chex_mm.engine'])
custom_hooks = [
    *_base_.custom_hooks,
    # The paper's 50 % are of the backbone; neck and head only get narrower
    # inputs.
    dict(type='CHEXHook', budget=dict(type='flops', keep=0.5, of='scope')),
]
