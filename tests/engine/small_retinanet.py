"""A RetinaNet of a few thousand channels, as config and built."""

from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.utils import import_modules_from_strings

WIDTH = 8


def retinanet(num_classes=4, masked=False):
    """The model config; `masked` wraps the backbone."""
    backbone = dict(
        type='ResNet',
        depth=18,
        base_channels=WIDTH,
        stem_channels=WIDTH,
        frozen_stages=-1,
        norm_eval=False,
        zero_init_residual=False,
        out_indices=(1, 2, 3),
    )
    if masked:
        backbone = dict(type='MaskedBackbone', backbone=backbone)
    return dict(
        type='RetinaNet',
        data_preprocessor=dict(
            type='DetDataPreprocessor',
            mean=[128.0] * 3,
            std=[64.0] * 3,
            pad_size_divisor=32,
        ),
        backbone=backbone,
        neck=dict(
            type='FPN',
            in_channels=[2 * WIDTH, 4 * WIDTH, 8 * WIDTH],
            out_channels=16,
            num_outs=3,
        ),
        bbox_head=dict(
            type='RetinaHead',
            num_classes=num_classes,
            in_channels=16,
            feat_channels=16,
            stacked_convs=1,
            anchor_generator=dict(
                type='AnchorGenerator',
                octave_base_scale=4,
                scales_per_octave=1,
                ratios=[1.0],
                strides=[8, 16, 32],
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True),
            loss_bbox=dict(type='L1Loss'),
        ),
        train_cfg=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
                min_pos_iou=0,
                ignore_iof_thr=-1,
            ),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        test_cfg=dict(
            nms_pre=100,
            min_bbox_size=0,
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=20,
        ),
    )


def build_retinanet(**settings):
    """The detector with random weights."""
    import_modules_from_strings(['mmdet.models', 'mmdet.datasets'])
    from mmdet.registry import MODELS

    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(ConfigDict(retinanet(**settings)))
