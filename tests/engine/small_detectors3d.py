"""The models on points of mmdet3d's own configs, few channels wide."""

from copy import deepcopy
from dataclasses import replace

from mmengine.registry import DefaultScope

from chex_mm.adopt.analysis import draw_vectors
from chex_mm.cli.command_line import load_config
from chex_mm.deploy.slimming import build_model
from chex_mm.engine.models.slim_model import plain_architecture
from chex_mm.packages.mmdet3d.clouds import generated_scenes, scene_layout
from chex_mm.packages.package import count_classes

POINTS = 512
SAMPLES = 2
IMAGE = 64, 96

WIDTH = 16
WIDE = 2 * WIDTH
FEW = dict(
    num_points=(128, 64, 32, 16),
    radius=(0.5, 1.0, 2.0, 3.0),
    num_samples=(8,) * 4,
)


def single_scale(**changes):
    """A backbone of four set abstractions, with two propagations."""
    return dict(
        FEW,
        sa_channels=((8, 8, WIDTH), *((WIDTH, WIDTH, WIDE),) * 3),
        fp_channels=((WIDE, WIDE),) * 2,
        **changes,
    )


def vote(width=WIDE, **changes):
    """A voting module and what aggregates its votes."""
    return dict(
        vote_module_cfg=dict(in_channels=width, conv_channels=(WIDTH, WIDTH)),
        vote_aggregation_cfg=dict(
            num_point=16,
            radius=1.0,
            num_sample=8,
            mlp_channels=[width, WIDTH, WIDTH, WIDE],
        ),
        **changes,
    )


HEADS = dict(in_channels=WIDE, shared_conv_channels=(WIDTH, WIDTH))
VOTE_HEAD = vote(pred_layer_cfg=HEADS)
ALL = dict(score_thr=0.0)
SCALES = ((8, 8, WIDTH), (8, 8, WIDTH))  # of one set abstraction
MULTI_SCALE = dict(
    num_points=FEW['num_points'],
    radii=((0.5, 1.0), (1.0, 2.0), (2.0, 3.0), (2.0, 4.0)),
    num_samples=((8, 8),) * 4,
    sa_channels=(SCALES,) * 4,
)


def segmenter(first, *skipped, more=0):
    """A segmentation head on four levels; `more` features of the points."""
    return dict(
        channels=WIDTH,
        fp_channels=(
            (first, WIDTH, WIDTH),
            *((WIDTH + width, WIDTH, WIDTH) for width in skipped),
            (WIDTH + more, WIDTH, WIDTH, WIDTH),
        ),
    )


SSG_SEGMENT = dict(
    backbone=dict(single_scale(), fp_channels=()),
    decode_head=segmenter(2 * WIDE, WIDE, WIDTH),
)
MSG_SEGMENT = dict(
    backbone=MULTI_SCALE, decode_head=segmenter(2 * WIDE, WIDE, WIDE)
)
PACONV = dict(
    backbone=dict(
        num_points=FEW['num_points'],
        num_samples=(8,) * 4,
        sa_channels=((8, 8, WIDTH), *((WIDTH, WIDTH, WIDE),) * 3),
        sa_cfg=dict(paconv_num_kernels=[4, 4, 4]),
    ),
    decode_head=segmenter(2 * WIDE, WIDE, WIDTH, more=6),
)
TEST_SLIDE = dict(num_points=POINTS, block_size=6.0)  # one window
PRIMITIVE = vote(feat_channels=(WIDTH, WIDTH))
PRIMITIVE['vote_module_cfg'].update(conv_channels=(WIDTH, WIDE))
PRIMITIVE['vote_aggregation_cfg'].update(num_point=64)  # all seeds


def matched(primitives, numbers):
    """What matches primitives, with numbers of theirs, to proposals."""
    return dict(
        num_point=16 * primitives,
        num_sample=8,
        mlp_channels=[WIDE + numbers, WIDTH, WIDTH, WIDTH],
    )


def embedding(numbers):
    """A position embedding as wide as the features."""
    return dict(
        type='ConvBNPositionalEncoding',
        input_channel=numbers,
        num_pos_feats=WIDE,
    )


IMAGE_BRANCH = dict(
    img_backbone=dict(
        type='mmdet.ResNet',
        depth=18,
        base_channels=8,
        stem_channels=8,
        frozen_stages=-1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
    ),
    img_neck=dict(in_channels=[8, 16, 32, 64], out_channels=WIDTH),
    img_rpn_head=dict(in_channels=WIDTH, feat_channels=WIDTH),
    img_roi_head=dict(
        bbox_roi_extractor=dict(out_channels=WIDTH),
        bbox_head=dict(in_channels=WIDTH, fc_out_channels=WIDE),
    ),
    train_cfg=dict(
        img_rpn_proposal=dict(max_per_img=20),
        img_rcnn=dict(sampler=dict(num=16)),
    ),
    test_cfg=dict(
        img_rpn=dict(max_per_img=20),
        img_rcnn=dict(score_thr=0.0, max_per_img=20),
    ),
)

# Name to (config of mmdet3d, what makes it small).
DETECTORS = {
    'votenet': (
        'votenet/votenet_8xb8_scannet-3d.py',
        dict(backbone=single_scale(), bbox_head=VOTE_HEAD, test_cfg=ALL),
    ),
    'pointnet2_ssg': (
        'pointnet2/pointnet2_ssg_2xb16-cosine-200e_scannet-seg.py',
        dict(SSG_SEGMENT, test_cfg=TEST_SLIDE),
    ),
    'pointnet2_ssg_s3dis': (
        'pointnet2/pointnet2_ssg_2xb16-cosine-50e_s3dis-seg.py',
        dict(SSG_SEGMENT, test_cfg=TEST_SLIDE),
    ),
    'pointnet2_msg': (
        'pointnet2/pointnet2_msg_2xb16-cosine-250e_scannet-seg.py',
        dict(MSG_SEGMENT, test_cfg=TEST_SLIDE),
    ),
    'pointnet2_msg_s3dis': (
        'pointnet2/pointnet2_msg_2xb16-cosine-80e_s3dis-seg.py',
        dict(MSG_SEGMENT, test_cfg=TEST_SLIDE),
    ),
    '3dssd': (
        '3dssd/3dssd_4xb4_kitti-3d-car.py',
        dict(
            backbone=dict(
                num_points=(128, 64, (32, 32)),
                radii=((2.0, 4.0),) * 3,
                num_samples=((8, 8),) * 3,
                sa_channels=(SCALES,) * 3,
                aggregation_channels=(WIDTH, WIDTH, WIDE),
                fps_sample_range_lists=((-1), (-1), (64, -1)),
            ),
            bbox_head=dict(
                vote_module_cfg=dict(
                    in_channels=WIDE, num_points=32, conv_channels=(WIDTH,)
                ),
                vote_aggregation_cfg=dict(
                    num_point=32,
                    sample_nums=(8, 8),
                    mlp_channels=((WIDE, WIDTH, WIDTH),) * 2,
                ),
                pred_layer_cfg=dict(
                    in_channels=WIDE,
                    shared_conv_channels=(WIDTH, WIDTH),
                    cls_conv_channels=(WIDTH,),
                    reg_conv_channels=(WIDTH,),
                ),
            ),
        ),
    ),
    'groupfree3d': (
        'groupfree3d/groupfree3d_head-L6-O256_4xb8_scannet-seg.py',
        dict(
            backbone=single_scale(),
            bbox_head=dict(
                in_channels=WIDE,
                num_decoder_layers=3,
                num_proposal=16,
                transformerlayers=dict(
                    attn_cfgs=dict(embed_dims=WIDE, num_heads=4),
                    ffn_cfgs=dict(embed_dims=WIDE, feedforward_channels=64),
                ),
                decoder_self_posembeds=embedding(6),
                decoder_cross_posembeds=embedding(3),
                pred_layer_cfg=HEADS,
            ),
        ),
    ),
    'h3dnet': (
        'h3dnet/h3dnet_8xb3_scannet-seg.py',
        dict(
            backbone=dict(backbones=single_scale()),
            rpn_head=VOTE_HEAD,
            roi_head=dict(
                primitive_list={str(n): PRIMITIVE for n in range(3)},
                bbox_head=dict(
                    num_proposal=16,
                    suface_matching_cfg=matched(6, 6),
                    line_matching_cfg=matched(12, 12),
                    primitive_refine_channels=[WIDE] * 3,
                ),
            ),
            test_cfg=dict(rcnn=ALL),
        ),
    ),
    'point_rcnn': (
        'point_rcnn/point-rcnn_8xb2_kitti-3d-3class.py',
        dict(
            backbone=MULTI_SCALE,
            neck=dict(
                fp_channels=(
                    (2 * WIDE, WIDTH, WIDTH),
                    (WIDTH + WIDE, WIDTH, WIDTH),
                    (WIDTH + WIDE, WIDTH, WIDTH),
                    (WIDTH + 1, WIDTH, WIDTH),
                )
            ),
            rpn_head=dict(
                pred_layer_cfg=dict(
                    in_channels=WIDTH,
                    cls_linear_channels=(WIDTH, WIDTH),
                    reg_linear_channels=(WIDTH, WIDTH),
                )
            ),
            roi_head=dict(
                bbox_roi_extractor=dict(roi_layer=dict(num_sampled_points=32)),
                bbox_head=dict(
                    mlp_channels=[WIDTH, WIDTH],
                    num_points=(16, 8, -1),
                    num_samples=(8, 8, 8),
                    sa_channels=((WIDTH,) * 3, (WIDTH,) * 3, (WIDTH, WIDE)),
                    pred_layer_cfg=dict(
                        in_channels=WIDE,
                        cls_conv_channels=(WIDTH, WIDTH),
                        reg_conv_channels=(WIDTH, WIDTH),
                    ),
                ),
            ),
            train_cfg=dict(
                rpn=dict(rpn_proposal=dict(nms_pre=100, nms_post=20)),
                rcnn=dict(sampler=dict(num=16)),
            ),
            test_cfg=dict(
                rpn=dict(nms_cfg=dict(nms_pre=100, nms_post=20)),
                rcnn=dict(score_thr=0.0),
            ),
        ),
    ),
    'imvotenet_image': (
        'imvotenet/imvotenet_faster-rcnn-r50_fpn_4xb2_sunrgbd-3d.py',
        IMAGE_BRANCH,
    ),
    'imvotenet': (
        'imvotenet/imvotenet_stage2_8xb16_sunrgbd-3d.py',
        dict(
            IMAGE_BRANCH,
            pts_backbone=single_scale(),
            pts_bbox_heads=dict(
                common=dict(pred_layer_cfg=HEADS),
                joint=vote(2 * WIDE),
                pts=vote(),
                img=vote(),
            ),
            img_mlp=dict(conv_channels=(WIDE, WIDE)),
            num_sampled_seed=32,
        ),
    ),
    'paconv': (
        'paconv/paconv_ssg_8xb8-cosine-150e_s3dis-seg.py',
        dict(PACONV, test_cfg=TEST_SLIDE),
    ),
    'paconv_cuda': (
        'paconv/paconv_ssg-cuda_8xb8-cosine-200e_s3dis-seg.py',
        dict(PACONV, test_cfg=TEST_SLIDE),
    ),
    'dgcnn': (
        'dgcnn/dgcnn_4xb32-cosine-100e_s3dis-seg_test-area5.py',
        dict(
            backbone=dict(
                num_samples=(8, 8, 8),
                gf_channels=((WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH,)),
                fa_channels=(64,),
            ),
            decode_head=dict(
                fp_channels=(64 + 3 * WIDTH, WIDE), channels=WIDTH
            ),
            test_cfg=TEST_SLIDE,
        ),
    ),
}


def small_config(name):
    """A config of mmdet3d with the model made small."""
    path, changes = DETECTORS[name]
    config = load_config(f'mmdet3d::{path}')
    # A copy: merging takes `_delete_` out of what it is given.
    config.merge_from_dict({'model': deepcopy(changes)}, allow_list_keys=True)
    config.model = plain_architecture(config.model)  # nothing to download
    return config


def build_small(name):
    """The model with random weights, and a batch for it."""
    config = small_config(name)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        layout = replace(scene_layout(config), points=POINTS)
        model = build_model(config)
        classes = count_classes(model)
        batch = generated_scenes(layout, classes, IMAGE, SAMPLES)
    draw_vectors(model)
    return model, batch
