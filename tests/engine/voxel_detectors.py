"""The voxel and camera detectors of mmdet3d's own configs, made small."""

from copy import deepcopy
from dataclasses import replace

from mmengine.registry import DefaultScope

from chex_mm.adopt.analysis import draw_vectors
from chex_mm.cli.command_line import load_config
from chex_mm.deploy.slimming import build_model
from chex_mm.engine.models.slim_model import plain_architecture
from chex_mm.packages.mmdet3d.clouds import generated_scenes, scene_layout

POINTS = 3000
FEW = {'sassd': 300}  # it looks for every point in a loop in Python
IMAGE = 64, 128  # height and width
SAMPLES = 2

# The scene is a few metres wide: 64 x 64 pillars, 192 x 176 x 40 voxels.
PILLARS = [0, -5.12, -3, 10.24, 5.12, 1]
VOXELS = [0, -4.8, -3, 8.8, 4.8, 1]
GRID = [41, 192, 176]
ROUND = [-6.4, -6.4, -5, 6.4, 6.4, 3]  # around the car, as nuScenes has it

SECOND = dict(
    backbone=dict(in_channels=32, layer_nums=[1, 1], out_channels=[16] * 2),
    neck=dict(in_channels=[16] * 2, out_channels=[16] * 2),
)
HEAD = dict(in_channels=32, feat_channels=32)
ENCODER = dict(
    sparse_shape=GRID,
    base_channels=8,
    output_channels=16,
    encoder_channels=((8,), (16, 16, 16), (16, 16, 16), (16, 16, 16)),
)
ALL = dict(score_thr=0.0, nms_pre=50, max_num=20)
BATCH_NORM = dict(type='BN', eps=1e-3)
RESNET = dict(
    depth=18,
    base_channels=8,
    stem_channels=8,
    frozen_stages=-1,
    norm_cfg=dict(type='BN', requires_grad=True),
    norm_eval=False,
)
FPN = dict(in_channels=[8, 16, 32, 64], out_channels=16)
REGIONS = dict(roi_layer=dict(out_size=4))
TOWERS = dict(cls_channels=[16, 16], reg_channels=[16, 16])
TWO_STAGES = dict(
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=50, nms_post=20, max_num=20),
        rcnn=dict(sampler=dict(num=16)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=50, nms_post=20, max_num=20),
        rcnn=dict(score_thr=0.0),
    ),
)


def centers(channels, grid):
    """CenterPoint's head on a map of some channels."""
    corner = ROUND[:2]
    return dict(
        pts_bbox_head=dict(
            in_channels=channels,
            share_conv_channel=16,
            separate_head=dict(head_conv=16),
            bbox_coder=dict(pc_range=corner, score_threshold=0.0, max_num=20),
        ),
        train_cfg=dict(pts=dict(grid_size=grid)),
        test_cfg=dict(
            pts=dict(pc_range=corner, score_threshold=0.0, post_max_size=20)
        ),
    )


def sets(channels, radius, level):
    """PV-RCNN's set abstraction of the voxels of one level."""
    return dict(
        type='StackedSAModuleMSG',
        in_channels=channels,
        scale_factor=2**level,
        radius=(radius, 2 * radius),
        sample_nums=(8, 8),
        mlp_channels=((channels, channels), (channels, channels)),
        use_xyz=True,
    )


def task(layers, *names):
    """One of the shape-aware heads; the longer ones start with a stride."""
    return dict(
        num_class=len(names),
        class_names=names,
        shared_conv_channels=(16,) * layers,
        shared_conv_strides=(layers - 1, *(1,) * (layers - 1)),
        norm_cfg=BATCH_NORM,
    )


def mono(branches):
    """A head on images: two channels in each of GroupNorm's 32 groups."""
    velocity = ((),) if branches == 5 else ((64,),)
    return dict(
        in_channels=16,
        feat_channels=64,
        cls_branch=(64,),
        dir_branch=(64,),
        attr_branch=(64,),
        reg_branch=((64,),) * (branches - 1) + velocity,
    )


def on_pillars(channels):
    """Pillars of some channels, a backbone of three stages and its neck."""
    return dict(
        encoder=dict(feat_channels=[channels]),
        middle=dict(in_channels=channels, output_shape=[64, 64]),
        backbone=dict(
            in_channels=channels, layer_nums=[1, 1, 1], out_channels=[16] * 3
        ),
        neck=dict(in_channels=[16] * 3, out_channels=[16] * 3),
    )


PILLAR = on_pillars(16)
# Name to (config of mmdet3d, where the scene is, what makes it small).
DETECTORS = {
    'pointpillars': (
        'pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py',
        PILLARS,
        dict(
            voxel_encoder=PILLAR['encoder'],
            middle_encoder=PILLAR['middle'],
            backbone=PILLAR['backbone'],
            neck=PILLAR['neck'],
            bbox_head=dict(in_channels=48, feat_channels=48),
            test_cfg=ALL,
        ),
    ),
    'second': (
        'second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py',
        VOXELS,
        dict(middle_encoder=ENCODER, bbox_head=HEAD, test_cfg=ALL, **SECOND),
    ),
    'centerpoint_pillar': (
        'centerpoint/centerpoint_pillar02_second_secfpn_8xb4-cyclic-20e_nus-'
        '3d.py',
        ROUND,
        dict(
            pts_voxel_encoder=PILLAR['encoder'],
            pts_middle_encoder=PILLAR['middle'],
            pts_backbone=PILLAR['backbone'],
            pts_neck=PILLAR['neck'],
            **centers(48, [64, 64, 1]),
        ),
    ),
    'centerpoint_voxel': (
        'centerpoint/centerpoint_voxel01_second_secfpn_8xb4-cyclic-20e_nus-'
        '3d.py',
        ROUND,
        dict(
            pts_middle_encoder=dict(
                ENCODER,
                sparse_shape=[41, 128, 128],
                encoder_channels=(
                    (8, 8, 16),
                    (16, 16, 16),
                    (16, 16, 16),
                    (16, 16),
                ),
            ),
            pts_backbone=SECOND['backbone'],
            pts_neck=SECOND['neck'],
            **centers(32, [128, 128, 40]),
        ),
    ),
    'parta2': (
        'parta2/parta2_hv_secfpn_8xb2-cyclic-80e_kitti-3d-3class.py',
        VOXELS,
        dict(
            middle_encoder=dict(
                ENCODER,
                decoder_channels=(
                    (16, 16, 16),
                    (16, 16, 16),
                    (16, 16, 8),
                    (8, 8, 8),
                ),
            ),
            rpn_head=HEAD,
            roi_head=dict(
                semantic_head=dict(in_channels=8),
                seg_roi_extractor=REGIONS,
                bbox_roi_extractor=REGIONS,
                bbox_head=dict(
                    seg_in_channels=8,
                    seg_conv_channels=[8, 8],
                    part_conv_channels=[8, 8],
                    merge_conv_channels=[16, 16],
                    down_conv_channels=[16, 16],
                    shared_fc_channels=[16, 32, 32, 32],
                    roi_feat_size=4,
                    **TOWERS,
                ),
            ),
            **TWO_STAGES,
            **SECOND,
        ),
    ),
    'pv_rcnn': (
        'pv_rcnn/pv_rcnn_8xb2-80e_kitti-3d-3class.py',
        VOXELS,
        dict(
            middle_encoder=ENCODER,
            points_encoder=dict(
                num_keypoints=128,
                fused_out_channel=16,
                voxel_sa_cfgs_list=[
                    sets(16 if level else 8, radius, level)
                    for level, radius in enumerate((0.4, 0.8, 1.2, 2.4))
                ],
                rawpoints_sa_cfgs=dict(mlp_channels=((8, 8), (8, 8))),
                bev_feat_channel=32,
            ),
            rpn_head=HEAD,
            roi_head=dict(
                semantic_head=dict(in_channels=160),
                bbox_roi_extractor=dict(
                    grid_size=3,
                    roi_layer=dict(
                        in_channels=16, mlp_channels=((8, 8), (8, 8))
                    ),
                ),
                bbox_head=dict(
                    in_channels=16,
                    grid_size=3,
                    shared_fc_channels=(32, 32),
                    **TOWERS,
                ),
            ),
            **TWO_STAGES,
            **SECOND,
        ),
    ),
    'ssn': (
        'ssn/ssn_hv_secfpn_sbn-all_16xb2-2x_nus-3d.py',
        [-8, -8, -5, 8, 8, 3],
        dict(
            pts_voxel_encoder=dict(
                feat_channels=[16, 16], norm_cfg=dict(type='BN1d')
            ),
            pts_middle_encoder=PILLAR['middle'],
            pts_backbone=dict(PILLAR['backbone'], norm_cfg=BATCH_NORM),
            pts_neck=dict(PILLAR['neck'], norm_cfg=BATCH_NORM),
            pts_bbox_head=dict(
                in_channels=48,
                feat_channels=48,
                tasks=[
                    task(2, 'bicycle', 'motorcycle'),
                    task(2, 'pedestrian'),
                    task(2, 'traffic_cone', 'barrier'),
                    task(3, 'car'),
                    task(3, 'truck', 'trailer', 'bus', 'construction_vehicle'),
                ],
            ),
            test_cfg=dict(pts=dict(score_thr=0.0, nms_pre=50, max_num=20)),
        ),
    ),
    'sassd': (
        'sassd/sassd_8xb6-80e_kitti-3d-3class.py',
        VOXELS,
        # Its layer on points reads 16 + 32 + 64 channels.
        dict(
            middle_encoder=dict(sparse_shape=GRID),
            bbox_head=HEAD,
            test_cfg=ALL,
            backbone=dict(SECOND['backbone'], in_channels=256),
            neck=SECOND['neck'],
        ),
    ),
    'mvxnet': (
        'mvxnet/mvxnet_fpn_dv_second_secfpn_8xb2-80e_kitti-3d-3class.py',
        VOXELS,
        dict(
            img_backbone=RESNET,
            img_neck=FPN,
            pts_voxel_encoder=dict(
                feat_channels=[16, 16],
                fusion_layer=dict(
                    img_channels=16,
                    pts_channels=16,
                    mid_channels=16,
                    out_channels=16,
                ),
            ),
            pts_middle_encoder=dict(ENCODER, in_channels=16),
            pts_backbone=SECOND['backbone'],
            pts_neck=SECOND['neck'],
            pts_bbox_head=HEAD,
            test_cfg=dict(pts=ALL),
        ),
    ),
    'imvoxelnet': (
        'imvoxelnet/imvoxelnet_8xb4_kitti-3d-car.py',
        None,
        dict(
            backbone=RESNET,
            neck=FPN,
            neck_3d=dict(in_channels=16, out_channels=16),
            bbox_head=dict(in_channels=16, feat_channels=16),
            n_voxels=[32, 32, 12],
            test_cfg=ALL,
        ),
    ),
    'smoke': (
        'smoke/smoke_dla34_dlaneck_gn-all_4xb8-6x_kitti-mono3d.py',
        None,
        dict(),
    ),
    'fcos3d': (
        'fcos3d/fcos3d_r101-caffe-dcn_fpn_head-gn_8xb2-1x_nus-mono3d.py',
        None,
        dict(
            backbone=dict(RESNET, depth=50),
            neck=dict(in_channels=[32, 64, 128, 256], out_channels=16),
            bbox_head=mono(5),
        ),
    ),
    'pgd': (
        'pgd/pgd_r101-caffe_fpn_head-gn_4xb3-4x_kitti-mono3d.py',
        None,
        dict(
            backbone=dict(RESNET, depth=50),
            neck=dict(in_channels=[32, 64, 128, 256], out_channels=16),
            bbox_head=dict(
                mono(6), depth_branch=(64,), centerness_branch=(64,)
            ),
        ),
    ),
}


def _within(config, extent):
    """The config for a scene between the corners `extent`."""
    if isinstance(config, (list, tuple)):
        return type(config)(_within(part, extent) for part in config)
    if not isinstance(config, dict):
        return config
    found = {}
    for key, value in config.items():
        if key == 'point_cloud_range':
            value = list(extent)
        elif key == 'ranges':
            value = [
                [*extent[:2], each[2], *extent[3:5], each[5]] for each in value
            ]
        found[key] = _within(value, extent)
    return found


def small_config(name):
    """A config of mmdet3d with the model made small."""
    path, extent, changes = DETECTORS[name]
    config = load_config(f'mmdet3d::{path}')
    # A copy: merging takes `_delete_` out of what it is given.
    config.merge_from_dict({'model': deepcopy(changes)})
    config.model = plain_architecture(config.model)  # nothing to download
    if extent is not None:
        config.model = _within(config.model.to_dict(), extent)
    return config


def build_small(name):
    """The detector with random weights, and a batch for it."""
    config = small_config(name)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        model = build_model(config)
        layout = replace(scene_layout(config), points=FEW.get(name, POINTS))
        batch = generated_scenes(layout, 3, IMAGE, SAMPLES)
    draw_vectors(model)
    return model, batch
