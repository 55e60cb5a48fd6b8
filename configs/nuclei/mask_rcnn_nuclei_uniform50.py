"""The nuclei model, uniformly narrow: half of the FLOPs, from scratch.

What CHEX at 50 % has to beat: about 0.7 of the channels in every layer,
50.04 % of the multiply-adds.
"""

_base_ = './mask_rcnn_nuclei_dense.py'

model = dict(
    backbone=dict(base_channels=22),
    neck=dict(in_channels=[22, 44, 88, 176], out_channels=46),
    rpn_head=dict(in_channels=46, feat_channels=46),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=46),
        bbox_head=dict(in_channels=46, fc_out_channels=88),
        mask_roi_extractor=dict(out_channels=46),
        mask_head=dict(in_channels=46, conv_out_channels=22),
    ),
)
