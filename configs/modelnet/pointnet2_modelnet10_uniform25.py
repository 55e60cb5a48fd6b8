"""The ModelNet10 model, uniformly narrow: a quarter of the FLOPs.

From scratch. What CHEX at 25 % has to beat: about half of the channels in
every layer, 25.1 % of the multiply-adds.
"""

_base_ = './pointnet2_modelnet10_dense.py'

model = dict(
    backbone=dict(sa_channels=((32, 32, 64), (64, 64, 126))),
    pool_channels=(126, 126, 252),
    head_channels=(128, 64),
)
