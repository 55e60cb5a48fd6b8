"""The nuclei model, uniformly narrow: a quarter of the FLOPs, from scratch.

What CHEX at 25 % has to beat: about half of the channels in every layer,
25.02 % of the multiply-adds.
"""

_base_ = './mask_rcnn_nuclei_dense.py'

model = dict(
    backbone=dict(base_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=30),
    rpn_head=dict(in_channels=30, feat_channels=30),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=30),
        bbox_head=dict(in_channels=30, fc_out_channels=64),
        mask_roi_extractor=dict(out_channels=30),
        mask_head=dict(in_channels=30, conv_out_channels=16),
    ),
)
