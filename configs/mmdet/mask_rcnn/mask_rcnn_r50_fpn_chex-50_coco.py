"""Mask R-CNN-R50-FPN from scratch, 50 % of the FLOPs taken away.

GroupNorm as in the paper, in mmdet's 6x schedule of "Rethinking ImageNet
Pre-training", which already has the norm recipe.
"""

_base_ = [
    'mmdet::scratch/mask-rcnn_r50-scratch_fpn_gn-all_6x_coco.py',
    '../../_base_/chex.py',
]

model = dict(backbone=dict(norm_eval=False))
