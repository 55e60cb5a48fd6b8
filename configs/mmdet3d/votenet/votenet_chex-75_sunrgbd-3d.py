"""As `votenet_chex-50_sunrgbd-3d.py`, 75 % of the FLOPs taken away."""

_base_ = './votenet_chex-50_sunrgbd-3d.py'

custom_hooks = _base_.custom_hooks
custom_hooks[-1].budget.keep = 0.25
