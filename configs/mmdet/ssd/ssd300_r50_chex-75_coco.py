"""As `ssd300_r50_chex-50_coco.py`, 75 % of the backbone's FLOPs taken away."""

_base_ = './ssd300_r50_chex-50_coco.py'

custom_hooks = _base_.custom_hooks
custom_hooks[-1].budget.keep = 0.25
