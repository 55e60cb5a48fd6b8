"""A generated scene is what the training pipeline of a config would give."""

import pytest

pytest.importorskip('mmdet3d.datasets', reason='needs mmdet3d')

from chex_mm.cli.command_line import load_config  # noqa: E402
from chex_mm.errors import ChexError  # noqa: E402
from chex_mm.packages.mmdet3d.clouds import scene_layout  # noqa: E402
from chex_mm.packages.mmdet3d.small_scene import shrink_scene  # noqa: E402

KITTI = 'second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py'


def config_of(name):
    return load_config(f'mmdet3d::{name}')


def test_a_room_is_sampled_as_its_pipeline_says():
    layout = scene_layout(config_of('votenet/votenet_8xb8_scannet-3d.py'))
    assert layout.points == 40000
    assert layout.features == 4  # with the height
    assert layout.frame == 'Depth' and layout.box_size == 7
    assert 'pts_semantic_mask' in layout.keys


def test_a_patch_of_a_room_is_as_wide_as_its_pipeline_says():
    layout = scene_layout(
        config_of('pointnet2/pointnet2_ssg_2xb16-cosine-50e_s3dis-seg.py')
    )
    assert layout.points == 4096
    assert layout.features == 9  # colours, and places within the room
    assert layout.extent == (0, 0, 0, 1, 1, 2.5)


def test_a_street_is_as_long_as_its_model_looks():
    config = config_of(KITTI)
    layout = scene_layout(config)
    assert layout.extent == pytest.approx((0, -40, -3, 70.4, 40, 1))
    assert layout.points == 16384
    shrink_scene(config)
    layout = scene_layout(config)
    assert layout.extent == pytest.approx((0, -10.4, -3, 17.6, 10.4, 1))
    assert layout.points == round(3 * 17.6 * 20.8)


def test_a_sample_of_unknown_form_is_refused():
    config = config_of(KITTI)
    config.train_dataloader.dataset.dataset.pipeline.pop()
    with pytest.raises(ChexError, match="ends in dict.type='Pack3DDetInputs'"):
        scene_layout(config)


def test_several_cameras_are_refused():
    config = config_of(
        'mvfcos3d/multiview-fcos3d_r101-dcn_8xb2_waymoD5-3d-3class.py'
    )
    with pytest.raises(ChexError, match='only clouds and single images'):
        scene_layout(config)
