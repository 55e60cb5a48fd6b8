"""Broken data ends in a clear error or in mmdet3d's own answer.

Never in a hang, and never in a crash inside of a kernel.
"""

import copy
import pickle

import pytest
import torch

pytest.importorskip('mmdet3d.models', reason='needs mmdet3d')

from mmdet3d.registry import DATASETS, TRANSFORMS  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402

from chex_mm.cli.command_line import load_config  # noqa: E402
from chex_mm.engine.datasets.synthetic_rooms import write_rooms  # noqa: E402

from ..engine import small_detectors3d, voxel_detectors  # noqa: E402

NAN = float('nan')
# What mmcv and mmdet3d say about their own layers.
pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}:UserWarning')
    for message in (
        'Unnecessary conv bias before',
        'dir_offset and dir_limit_offset',
        'torch.meshgrid',
    )
]


@pytest.fixture(scope='module')
def votenet():
    return small_detectors3d.build_small('votenet')


@pytest.fixture(scope='module')
def pointpillars():
    return voxel_detectors.build_small('pointpillars')


def run(built, change, mode):
    """What a model makes of its batch when all of its clouds are changed."""
    model, batch = built
    model, batch = copy.deepcopy(model), copy.deepcopy(batch)
    clouds = batch['inputs']['points']
    batch['inputs']['points'] = [change(cloud) for cloud in clouds]
    for sample, cloud in zip(batch['data_samples'], clouds):
        if 'pts_semantic_mask' in sample.get('gt_pts_seg', ()):
            masks, size = sample.gt_pts_seg, len(change(cloud))
            masks.pts_semantic_mask = masks.pts_semantic_mask[:size]
            masks.pts_instance_mask = masks.pts_instance_mask[:size]
    model.train(mode == 'loss')
    data = model.data_preprocessor(batch, mode == 'loss')
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        return model(**data, mode=mode)


def with_nan(cloud):
    cloud = cloud.clone()
    cloud[5] = NAN
    return cloud


def test_a_cloud_with_nan_is_not_sampled_from(votenet):
    with pytest.raises(ValueError, match='found NaN or infinity .* cloud'):
        run(votenet, with_nan, 'loss')


def test_an_empty_cloud_is_not_sampled_from(votenet):
    with pytest.raises(ValueError, match='found no point to choose'):
        run(votenet, lambda cloud: cloud[:0], 'predict')


def test_fewer_points_than_a_model_samples(votenet):
    losses = run(votenet, lambda cloud: cloud[:20], 'loss')
    assert all(torch.isfinite(value).all() for value in losses.values())


@pytest.mark.parametrize('change', [with_nan, lambda cloud: cloud[:3]])
def test_pillars_of_a_broken_cloud(pointpillars, change):
    (first, *_) = run(pointpillars, change, 'predict')
    assert torch.isfinite(first.pred_instances_3d.scores_3d).all()


def test_no_pillar_at_all_is_an_error_of_mmdet3d(pointpillars):
    with pytest.raises(IndexError, match='out of bounds .* with size 0'):
        run(pointpillars, lambda cloud: cloud[:0], 'predict')


@pytest.fixture(scope='module')
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp('rooms') / 'set'
    return write_rooms(folder, {'train': 1, 'val': 1})


@pytest.fixture
def options(rooms):
    """Of the demo's training set."""
    config = load_config('configs/demo3d/votenet_demo_dense.py')
    return {**config.train_dataloader.dataset, 'data_root': str(rooms)}


def build(options):
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        return DATASETS.build(options)


@pytest.mark.parametrize('points', [1, 100])
def test_a_cloud_of_few_points_is_filled_up(options, points, monkeypatch):
    load = TRANSFORMS.get('LoadPointsFromFile')
    read = load._load_points
    monkeypatch.setattr(
        load,
        '_load_points',
        lambda self, path: read(self, path)[: 6 * points],
    )
    options['pipeline'] = without_masks(options['pipeline'])
    sample = build(options)[0]
    cloud = sample['inputs']['points']
    assert len(cloud) > points
    assert len(cloud.unique(dim=0)) <= points


def test_an_empty_file_is_an_error_of_mmdet3d(options, monkeypatch):
    load = TRANSFORMS.get('LoadPointsFromFile')
    read = load._load_points
    monkeypatch.setattr(
        load, '_load_points', lambda self, path: read(self, path)[:0]
    )
    options['pipeline'] = without_masks(options['pipeline'])
    with pytest.raises(IndexError, match='out of bounds .* with size 0'):
        build(options)[0]


def without_masks(pipeline):
    """The steps that need a mask per point are left out."""
    steps = []
    for step in copy.deepcopy(pipeline):
        if step['type'] == 'PointSegClassMapping':
            continue
        if step['type'] == 'LoadAnnotations3D':
            step.update(with_mask_3d=False, with_seg_3d=False)
        if step['type'] == 'Pack3DDetInputs':
            step['keys'] = [k for k in step['keys'] if 'mask' not in k]
        steps.append(step)
    return steps


def test_a_broken_info_file_is_an_error(options, tmp_path):
    (tmp_path / 'infos.pkl').write_bytes(pickle.dumps({'a': [1] * 99})[:50])
    options.update(data_root='', ann_file=str(tmp_path / 'infos.pkl'))
    with pytest.raises(pickle.UnpicklingError, match='truncated'):
        build(options)
    (tmp_path / 'infos.pkl').write_bytes(pickle.dumps({'a': 1}))
    with pytest.raises(ValueError, match='must have data_list and metainfo'):
        build(options)
