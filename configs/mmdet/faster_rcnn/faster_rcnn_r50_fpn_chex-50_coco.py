"""Faster R-CNN-R50-FPN from scratch, 50 % of the FLOPs taken away.

mmdet's 6x schedule of "Rethinking ImageNet Pre-training", with its other
norm layer.
"""

_base_ = [
    'mmdet::scratch/faster-rcnn_r50-scratch_fpn_gn-all_6x_coco.py',
    '../../_base_/chex.py',
]

# Not GroupNorm: a channel may go without the others of its norm group, and
# the norm folds into the convolution.
norm_cfg = dict(_delete_=True, type='SyncBN', requires_grad=True)
model = dict(
    backbone=dict(norm_cfg=norm_cfg, norm_eval=False),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(bbox_head=dict(norm_cfg=norm_cfg)),
)
