"""A VoteNet that two CPU cores can train from scratch.

The architecture of mmdet3d's VoteNet at half of its widths, for clouds of a
tenth of ScanNet's points.
"""

_base_ = 'mmdet3d::_base_/models/votenet.py'

model = dict(
    backbone=dict(
        # A quarter of the stock numbers, the last two less: rooms hold a
        # handful of objects, and some twenty points of a chair are left.
        num_points=(512, 256, 128, 64),
        # Points are farther apart than ScanNet's.
        radius=(0.3, 0.5, 0.9, 1.4),
        # Fuller balls would hold most points twice.
        num_samples=(16, 16, 16, 16),
        sa_channels=(
            (32, 32, 64),
            (64, 64, 128),
            (64, 64, 128),
            (64, 64, 128),
        ),
        fp_channels=((128, 128), (128, 128)),
    ),
    bbox_head=dict(
        vote_module_cfg=dict(in_channels=128, conv_channels=(128, 128)),
        vote_aggregation_cfg=dict(
            num_point=64,  # ten times as many as objects
            mlp_channels=[128, 64, 64, 64],
        ),
        pred_layer_cfg=dict(in_channels=64, shared_conv_channels=(64, 64)),
    ),
)
