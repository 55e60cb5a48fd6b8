"""RTMDet-tiny from scratch, 50 % of the FLOPs taken away.

mmdet's own 300 epochs, as long as YOLOX trains from random weights; the norm
recipe is already there.
"""

_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'

model = dict(backbone=dict(init_cfg=None))

custom_imports = dict(imports=['chex_mm.engine'])
custom_hooks = [
    # The averaged model that is evaluated is the same sub-model.
    *_base_.custom_hooks,
    dict(type='CHEXHook', budget=dict(type='flops', keep=0.5)),
]
