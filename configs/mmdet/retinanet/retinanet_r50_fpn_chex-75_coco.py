"""As `retinanet_r50_fpn_chex-50_coco.py`, 75 % of the FLOPs taken away."""

_base_ = './retinanet_r50_fpn_chex-50_coco.py'

custom_hooks = _base_.custom_hooks
custom_hooks[-1].budget.keep = 0.25
