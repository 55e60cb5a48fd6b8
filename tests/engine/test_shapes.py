"""A file of shapes becomes samples; one of another layout is refused."""

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet3d', reason='its transforms read the samples')

from mmdet3d.utils import register_all_modules  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402

from chex_mm.engine.datasets.shapes import ShapeDataset  # noqa: E402

CLASSES = np.array(['chair', 'table', 'bed'])


@pytest.fixture(autouse=True)
def _scope():
    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        yield


def arrays(clouds=5, points=16):
    rng = np.random.default_rng(0)
    return {
        'train_points': rng.normal(size=(clouds, points, 3)).astype('f2'),
        'train_labels': (np.arange(clouds) % 3).astype(np.uint8),
        'test_points': rng.normal(size=(2, points, 3)).astype('f2'),
        'test_labels': np.array([2, 0], np.uint8),
        'classes': CLASSES,
    }


@pytest.fixture
def write(tmp_path):
    def write(**changes):
        content = {**arrays(), **changes}
        content = {k: v for k, v in content.items() if v is not None}
        np.savez(tmp_path / 'set.npz', **content)
        return dict(data_root=str(tmp_path), ann_file='set.npz')

    return write


def test_a_sample_is_a_cloud_and_its_class(write):
    dataset = ShapeDataset(**write(), split='test')
    assert len(dataset) == 2
    assert dataset.metainfo['classes'] == ('chair', 'table', 'bed')
    expected = arrays()
    for number in range(2):
        sample = dataset[number]
        assert sample['points'].tensor.dtype == torch.float32
        assert (
            sample['points'].tensor.numpy() == expected['test_points'][number]
        ).all()
        assert sample['gt_labels_3d'].tolist() == [
            expected['test_labels'][number]
        ]
        assert sample['gt_labels_3d'].dtype == np.int64


def test_only_the_first_points_of_each_cloud(write):
    place = write()
    whole = ShapeDataset(**place)
    some = ShapeDataset(**place, points=4)
    assert some[3]['points'].shape == (4, 3)
    assert (some[3]['points'].tensor == whole[3]['points'].tensor[:4]).all()


def test_names_given_in_the_config_stay(write):
    names = ('a', 'b', 'c')
    dataset = ShapeDataset(**write(), metainfo=dict(classes=names))
    assert dataset.metainfo['classes'] == names


def test_transforms_of_mmdet3d_read_the_samples(write):
    dataset = ShapeDataset(
        **write(),
        pipeline=[
            dict(type='PointSample', num_points=8),
            dict(
                type='GlobalRotScaleTrans',
                rot_range=[0, 0],
                scale_ratio_range=[2, 2],
            ),
            dict(type='Pack3DDetInputs', keys=['points', 'gt_labels_3d']),
        ],
    )
    packed = dataset[4]
    points = packed['inputs']['points']
    assert points.shape == (8, 3)
    doubled = torch.from_numpy(arrays()['train_points'][4]).float() * 2
    distances = torch.cdist(points, doubled).min(dim=1).values
    assert distances.max() < 1e-5
    labels = packed['data_samples'].gt_instances_3d.labels_3d
    assert labels.tolist() == [1]


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            {'train_labels': None, 'classes': None},
            r"set.npz has no train_labels, classes, but \['test_labels', "
            r"'test_points', 'train_points'\]; see ShapeDataset",
        ),
        (
            {'train_points': np.zeros((5, 16), 'f4')},
            r'train_points of shape \(5, 16\), not \(clouds, points, 3\)',
        ),
        (
            {'train_points': np.zeros((5, 0, 3), 'f4')},
            r'train_points of shape \(5, 0, 3\)',
        ),
        (
            {'train_labels': np.zeros(4, np.uint8)},
            r'has 5 clouds, but train_labels of shape \(4,\)',
        ),
        (
            {'train_labels': np.array([0, 1, 3, 0, 7])},
            'labels cloud 2 with 3, and there are 3 classes',
        ),
        (
            {'train_labels': np.array([0, 1, 2, -1, 0])},
            'labels cloud 3 with -1, and there are 3 classes',
        ),
        (
            {'train_points': np.full((5, 16, 3), np.nan, 'f2')},
            r'in cloud 0 that are not finite \(5 such clouds\)',
        ),
    ],
)
def test_another_layout_is_refused(write, changes, message):
    with pytest.raises(ValueError, match=message):
        ShapeDataset(**write(**changes))


def test_more_points_than_there_are_is_refused(write):
    with pytest.raises(ValueError, match='16 points, fewer than points=17'):
        ShapeDataset(**write(), points=17)


def test_a_broken_file_is_refused(tmp_path):
    (tmp_path / 'set.npz').write_bytes(b'PK\x03\x04 and no more')
    with pytest.raises(ValueError, match='set.npz cannot be read'):
        ShapeDataset(data_root=str(tmp_path), ann_file='set.npz')


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match='nothing.npz'):
        ShapeDataset(data_root=str(tmp_path), ann_file='nothing.npz')
