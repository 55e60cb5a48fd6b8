"""SECOND on KITTI, 3 classes, 50 % of the FLOPs taken away.

mmdet3d's own 40 epochs of 2 repeats, which start from random weights.
"""

_base_ = [
    'mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py',
    '../../_base_/chex.py',
]

# Decay would pull the scales that rank the channels towards zero.
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0))
