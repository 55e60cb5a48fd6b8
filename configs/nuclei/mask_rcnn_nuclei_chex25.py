"""The nuclei model, explored to a quarter of its FLOPs while it trains."""

_base_ = './mask_rcnn_nuclei_chex50.py'

custom_hooks = _base_.custom_hooks
custom_hooks[-1].budget.keep = 0.25
