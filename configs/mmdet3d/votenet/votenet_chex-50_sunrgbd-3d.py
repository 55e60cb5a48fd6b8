"""VoteNet on SUN RGB-D, 50 % of the FLOPs taken away.

mmdet3d's own 36 epochs of 5 repeats, which start from random weights.
"""

_base_ = [
    'mmdet3d::votenet/votenet_8xb16_sunrgbd-3d.py',
    '../../_base_/chex.py',
]

# Decay would pull the scales that rank the channels towards zero.
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0))
