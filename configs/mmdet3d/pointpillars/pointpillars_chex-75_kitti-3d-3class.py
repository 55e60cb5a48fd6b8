"""As `pointpillars_chex-50_kitti-3d-3class.py`,
75 % of the FLOPs taken away.
"""

_base_ = './pointpillars_chex-50_kitti-3d-3class.py'

custom_hooks = _base_.custom_hooks
custom_hooks[-1].budget.keep = 0.25
