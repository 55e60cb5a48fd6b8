"""mmdet3d's copy of mmcv's scatter, which tells the voxel of each point."""

import pytest
import torch
from torch.autograd import gradcheck

pytest.importorskip('mmdet3d.models', reason='needs mmdet3d')

from mmcv.ops.scatter_points import dynamic_scatter  # noqa: E402
from mmdet3d.models.data_preprocessors.voxelize import (  # noqa: E402
    _DynamicScatter,
    dynamic_scatter_3d,
)

import chex_mm.engine  # noqa: E402, F401

from .covered import covers  # noqa: E402

PLACES = torch.tensor(
    [[2, 0, 1], [0, 1, 1], [2, 0, 1], [0, -1, 0], [0, 1, 0]],
    dtype=torch.int32,
)


@covers(_DynamicScatter)
@pytest.mark.parametrize('reduction', ['sum', 'mean', 'max'])
def test_features_and_voxels_are_those_of_mmcv(reduction):
    features = torch.randn(5, 2)
    expected = dynamic_scatter(features, PLACES, reduction)
    found = dynamic_scatter_3d(features, PLACES, reduction)
    assert [a.equal(b) for a, b in zip(found, expected)] == [True, True]


def test_the_map_names_the_row_of_each_point():
    features = torch.arange(5.0)[:, None]
    out, rows, owner = dynamic_scatter_3d(features, PLACES, 'sum', True)
    assert rows.tolist() == [[0, 1, 0], [0, 1, 1], [2, 0, 1]]
    assert out.tolist() == [[4], [1], [0 + 2]]
    assert owner.dtype == torch.int32 and owner.tolist() == [2, 1, 2, -1, 0]


def test_no_point_has_no_row():
    found = dynamic_scatter_3d(torch.rand(0, 2), PLACES[:0], 'mean', True)
    assert [len(part) for part in found] == [0, 0, 0]


@covers(_DynamicScatter, 'backward')
@pytest.mark.parametrize('with_map', [(), (True,)])
@pytest.mark.parametrize('reduction', ['sum', 'mean', 'max'])
def test_gradient(reduction, with_map):
    features = torch.rand(5, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(
        lambda x: dynamic_scatter_3d(x, PLACES, reduction, *with_map)[0],
        features,
    )
