"""As `pointnet2_ssg_chex-50_s3dis-seg.py`, 75 % of the FLOPs taken away."""

_base_ = './pointnet2_ssg_chex-50_s3dis-seg.py'

custom_hooks = _base_.custom_hooks
custom_hooks[-1].budget.keep = 0.25
