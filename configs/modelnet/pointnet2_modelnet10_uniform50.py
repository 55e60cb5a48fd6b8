"""The ModelNet10 model, uniformly narrow: half of the FLOPs, from scratch.

What CHEX at 50 % has to beat: about 0.7 of the channels in every layer,
50.2 % of the multiply-adds.
"""

_base_ = './pointnet2_modelnet10_dense.py'

model = dict(
    backbone=dict(sa_channels=((46, 46, 90), (90, 90, 180))),
    pool_channels=(180, 180, 360),
    head_channels=(180, 90),
)
