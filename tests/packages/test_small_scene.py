"""A smaller scene changes where it ends, and nothing else of a model."""

from copy import deepcopy

import pytest
from mmengine.config import Config

from chex_mm.packages.mmdet3d.small_scene import shrink_scene


def shrunk(model):
    config = Config(dict(model=deepcopy(model)))
    shrink_scene(config)
    return config.model.to_dict()


VOXELS = dict(
    data_preprocessor=dict(
        voxel_layer=dict(
            point_cloud_range=[0, -40, -3, 70.4, 40, 1],
            voxel_size=[0.05, 0.05, 0.1],
        )
    ),
    middle_encoder=dict(
        sparse_shape=[41, 1600, 1408], encoder_channels=((16,), (32, 32))
    ),
    bbox_head=dict(
        anchor_generator=dict(
            ranges=[[0, -40.0, -0.6, 70.4, 40.0, -0.6]], sizes=[[1, 2, 3]]
        ),
        bbox_coder=dict(pc_range=[0, -40], post_center_range=None),
    ),
    roi_layer=dict(grid_size=6),
    train_cfg=dict(grid_size=[1408, 1600, 40]),
)


def test_a_voxel_model_keeps_its_layers_on_a_quarter_of_each_side():
    expected = deepcopy(VOXELS)
    layer = expected['data_preprocessor']['voxel_layer']
    layer['point_cloud_range'] = [0, -10.4, -3, 17.6, 10.4, 1]
    # 352 and 416 cells are the multiples of 32 above 352 and 400.
    expected['middle_encoder']['sparse_shape'] = [41, 416, 352]
    expected['train_cfg']['grid_size'] = [352, 416, 40]
    head = expected['bbox_head']
    head['anchor_generator']['ranges'] = [[0, -10.4, -0.6, 17.6, 10.4, -0.6]]
    head['bbox_coder']['pc_range'] = [0, -10.4]
    assert flat(shrunk(VOXELS)) == flat(expected)


def flat(value):
    """Numbers of a config, to the last digit but one."""
    if isinstance(value, dict):
        return {key: flat(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [flat(part) for part in value]
    return pytest.approx(value) if isinstance(value, float) else value


def test_pillars_are_counted_in_rows():
    model = dict(
        voxel=dict(
            point_cloud_range=[0, -39.68, -3, 69.12, 39.68, 1],
            voxel_size=[0.16, 0.16, 4],
        ),
        scatter=dict(type='PointPillarsScatter', output_shape=[496, 432]),
    )
    found = shrunk(model)
    assert found['scatter']['output_shape'] == [128, 128]
    assert found['voxel']['point_cloud_range'] == pytest.approx(
        [0, -10.24, -3, 20.48, 10.24, 1]
    )


def test_voxels_of_images_are_counted_too():
    model = dict(
        n_voxels=[216, 248, 12],
        prior_generator=dict(ranges=[[-0.16, -39.68, -3, 68.96, 39.68, 1]]),
    )
    found = shrunk(model)
    assert found['n_voxels'] == [64, 64, 12]
    bounds = found['prior_generator']['ranges'][0]
    assert bounds[4] - bounds[1] == pytest.approx(2 * 39.68 * 64 / 248)


def test_ground_that_is_small_already_stays():
    model = dict(n_voxels=[40, 24, 16])
    assert shrunk(model) == dict(n_voxels=[32, 24, 16])


def test_a_model_without_a_grid_stays_as_it_is():
    model = dict(backbone=dict(grid_size=[8, 8]), head=dict(num_points=9))
    assert shrunk(model) == model


def test_fewer_points_are_read_and_sampled():
    model = dict(
        backbone=dict(num_points=(4096, 512, (256, 100)), num_samples=(64,)),
        roi_head=dict(num_points=(128, 32, -1)),
        bbox_head=dict(vote_aggregation_cfg=dict(num_point=256)),
    )
    dataset = dict(pipeline=[dict(type='PointSample', num_points=20000)])
    config = Config(dict(model=model, train_dataloader=dict(dataset=dataset)))
    shrink_scene(config)
    assert config.model.backbone.num_points == (512, 64, (32, 16))
    assert config.model.backbone.num_samples == (64,)
    assert config.model.roi_head.num_points == (16, 16, -1)
    assert config.model.bbox_head.vote_aggregation_cfg.num_point == 32
    (step,) = config.train_dataloader.dataset.pipeline
    assert step.num_points == 2500
