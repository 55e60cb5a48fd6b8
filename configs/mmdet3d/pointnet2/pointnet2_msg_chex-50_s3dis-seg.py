"""PointNet++ (MSG) that segments S3DIS, 50 % of the FLOPs taken away.

mmdet3d's own 80 epochs, which start from random weights.
"""

_base_ = [
    'mmdet3d::pointnet2/pointnet2_msg_2xb16-cosine-80e_s3dis-seg.py',
    '../../_base_/chex.py',
]

# Decay would pull the scales that rank the channels towards zero.
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0))
