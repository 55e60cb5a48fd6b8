"""The ModelNet10 model, explored to a quarter of its FLOPs as it trains."""

_base_ = './pointnet2_modelnet10_chex50.py'

custom_hooks = _base_.custom_hooks
custom_hooks[-1].budget.keep = 0.25
