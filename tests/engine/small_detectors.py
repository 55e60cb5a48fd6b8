"""The detectors of mmdet's own configs, a few channels wide."""

from copy import deepcopy

from mmengine.registry import DefaultScope

from chex_mm.adopt.analysis import draw_vectors
from chex_mm.cli.command_line import load_config
from chex_mm.deploy.slimming import build_model
from chex_mm.engine.models.slim_model import plain_architecture

SIDE = 128  # of an image
WIDTH = 8
NECK = 16


RESNET = dict(
    depth=18,
    base_channels=WIDTH,
    stem_channels=WIDTH,
    frozen_stages=-1,
    norm_cfg=dict(type='BN', requires_grad=True),
    norm_eval=False,
    style='pytorch',
)
FPN = dict(in_channels=[8, 16, 32, 64], out_channels=NECK)
BATCH_NORM = dict(norm_cfg=dict(type='BN'))
SSD = (16, 32, 32, 16, 16, 16)


def two_stages(**roi_head):
    """An FPN and its heads; a fixed number of regions."""
    head = dict(in_channels=NECK, roi_feat_size=7, num_classes=4)
    return dict(
        backbone=RESNET,
        neck=FPN,
        rpn_head=dict(in_channels=NECK, feat_channels=NECK),
        roi_head=dict(
            bbox_roi_extractor=dict(out_channels=NECK),
            bbox_head=dict(head, fc_out_channels=64),
            **roi_head,
        ),
        train_cfg=dict(
            rpn_proposal=dict(max_per_img=20), rcnn=dict(sampler=dict(num=16))
        ),
        test_cfg=dict(
            rpn=dict(max_per_img=20),
            rcnn=dict(score_thr=0.0, max_per_img=20),
        ),
    )


MASK = dict(
    mask_roi_extractor=dict(out_channels=NECK),
    mask_head=dict(
        in_channels=NECK, conv_out_channels=NECK, num_classes=4, num_convs=2
    ),
)
FEW = dict(nms_pre=100, score_thr=0.0, max_per_img=20)

# Name to (config of mmdet, what makes it small).
DETECTORS = {
    'retinanet': (
        'retinanet/retinanet_r18_fpn_1x_coco.py',
        dict(
            backbone=RESNET,
            neck=FPN,
            bbox_head=dict(
                in_channels=NECK,
                feat_channels=NECK,
                stacked_convs=2,
                num_classes=4,
            ),
            test_cfg=FEW,
        ),
    ),
    'faster_rcnn': (
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        two_stages(),
    ),
    'mask_rcnn': (
        'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
        two_stages(**MASK),
    ),
    'ssd': (
        'ssd/ssd300_coco.py',
        dict(
            backbone=dict(
                RESNET, _delete_=True, type='ResNet', out_indices=(1, 2)
            ),
            neck=dict(
                in_channels=SSD[:2],
                out_channels=SSD,
                level_paddings=(1, 1, 1, 1),
            ),
            bbox_head=dict(in_channels=SSD, num_classes=4),
            test_cfg=FEW,
        ),
    ),
    'rtmdet': (
        'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
        dict(
            backbone=dict(widen_factor=0.125, **BATCH_NORM),
            neck=dict(
                in_channels=[32, 64, 128], out_channels=NECK, **BATCH_NORM
            ),
            bbox_head=dict(
                in_channels=NECK,
                feat_channels=NECK,
                num_classes=4,
                **BATCH_NORM,
            ),
            test_cfg=FEW,
        ),
    ),
    'yolox': (
        'yolox/yolox_tiny_8xb8-300e_coco.py',
        dict(
            backbone=dict(widen_factor=0.125),
            neck=dict(in_channels=[32, 64, 128], out_channels=NECK),
            bbox_head=dict(
                in_channels=NECK, feat_channels=NECK, num_classes=4
            ),
            test_cfg=dict(score_thr=0.0),
        ),
    ),
    'fcos': (
        'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        dict(
            backbone=RESNET,
            neck=FPN,
            # Two channels in each of GroupNorm's 32 groups.
            bbox_head=dict(
                in_channels=NECK,
                feat_channels=64,
                stacked_convs=2,
                num_classes=4,
            ),
            test_cfg=FEW,
        ),
    ),
}


def small_config(name):
    """A config of mmdet with the model made small."""
    path, changes = DETECTORS[name]
    config = load_config(f'mmdet::{path}')
    # A copy: merging takes `_delete_` out of what it is given.
    config.merge_from_dict({'model': deepcopy(changes)})
    config.model = plain_architecture(config.model)  # nothing to download
    return config


def build_small(name):
    """The detector with random weights."""
    return build_drawn(small_config(name))


def build_drawn(config):
    """The model of a config of mmdet, with random weights and vectors."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = build_model(config)
    draw_vectors(model)
    return model
