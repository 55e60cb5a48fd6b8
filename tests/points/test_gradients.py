"""Gradients of the CPU kernels, against finite differences and indexing."""

from importlib.util import find_spec

import pytest
import torch
from torch.autograd import gradcheck

if not (find_spec('mmcv') and find_spec('mmcv._ext') and find_spec('numba')):
    pytest.skip('needs mmcv with operators and numba', allow_module_level=True)

from mmcv.ops import (
    RoIAwarePool3d,
    assign_score_withk,
    gather_points,
    grouping_operation,
    three_interpolate,
    three_nn,
)
from mmcv.ops.assign_score_withk import AssignScoreWithK
from mmcv.ops.gather_points import GatherPoints
from mmcv.ops.group_points import GroupingOperation
from mmcv.ops.roiaware_pool3d import RoIAwarePool3dFunction
from mmcv.ops.scatter_points import _DynamicScatter, dynamic_scatter
from mmcv.ops.three_interpolate import ThreeInterpolate

import chex_mm.engine  # noqa: F401

from .covered import covers


def doubles(*shape):
    return torch.rand(shape, dtype=torch.float64, requires_grad=True)


def indices(high, *shape):
    return torch.randint(high, shape, dtype=torch.int32)


@covers(GatherPoints, 'backward')
def test_gather():
    chosen = indices(6, 2, 9)  # more than there are points
    assert gradcheck(lambda x: gather_points(x, chosen), doubles(2, 3, 6))


@covers(GroupingOperation, 'backward')
def test_group():
    groups = indices(6, 2, 4, 3)
    assert gradcheck(lambda x: grouping_operation(x, groups), doubles(2, 3, 6))


def test_stacked_group():
    groups = torch.tensor([[0, 2], [1, 1], [3, 0]], dtype=torch.int32)
    counts = [torch.tensor(n, dtype=torch.int32) for n in ([3, 4], [1, 2])]
    assert gradcheck(
        lambda x: grouping_operation(x, groups, *counts), doubles(7, 3)
    )


@covers(ThreeInterpolate, 'backward')
def test_interpolate_sends_nothing_to_the_weights():
    near, weight = indices(6, 2, 5, 3), doubles(2, 5, 3)
    assert gradcheck(
        lambda x: three_interpolate(x, near, weight.detach()),
        doubles(2, 3, 6),
    )
    three_interpolate(doubles(2, 3, 6), near, weight).sum().backward()
    assert weight.grad is None


def test_three_nn_sends_nothing_to_the_points():
    points = torch.rand(1, 5, 3, requires_grad=True)
    three_nn(points, torch.rand(1, 4, 3))[0].sum().backward()
    assert points.grad is None


@covers(_DynamicScatter, 'backward')
@pytest.mark.parametrize('reduction', ['sum', 'mean', 'max'])
def test_dynamic_scatter(reduction):
    coordinates = indices(3, 20, 3) - 1
    assert gradcheck(
        lambda x: dynamic_scatter(x, coordinates, reduction)[0],
        doubles(20, 2),
    )


def test_the_first_of_equal_maxima_gets_the_gradient():
    features = torch.tensor([[1.0], [2], [2]], requires_grad=True)
    coordinates = torch.zeros(3, 3, dtype=torch.int32)
    dynamic_scatter(features, coordinates, 'max')[0].sum().backward()
    assert features.grad.flatten().tolist() == [0, 1, 0]


@covers(RoIAwarePool3dFunction, 'backward')
@pytest.mark.parametrize('mode', ['max', 'avg'])
def test_voxels_of_regions(mode):
    boxes = torch.tensor(
        [[0.5, 0.5, 0, 1, 1, 1, 0], [0.4, 0.5, 0, 1, 1, 1, 1]]
    )
    points = torch.rand(30, 3)
    pool = RoIAwarePool3d(2, 4, mode)
    assert gradcheck(
        lambda x: pool(boxes.double(), points.double(), x), doubles(30, 2)
    )


@covers(AssignScoreWithK, 'backward')
def test_score_assignment():
    neighbours = torch.randint(6, (2, 4, 3))
    neighbours[0, 1, 2] = -1
    assert gradcheck(
        lambda *x: assign_score_withk(*x, neighbours),
        (doubles(2, 4, 3, 5), doubles(2, 6, 5, 2), doubles(2, 6, 5, 2)),
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_short_floats_are_summed_in_float32(dtype):
    features = torch.ones(1, 1, 2, dtype=dtype, requires_grad=True)
    chosen = torch.zeros(1, 3000, dtype=torch.int32)
    out = gather_points(features, chosen)
    out.sum().backward()
    assert out.dtype == features.grad.dtype == dtype
    # One by one in float16 the sum would stop at 2048, in bfloat16 at 256.
    assert features.grad[0, 0, 0] == torch.tensor(3000.0).to(dtype)


def test_results_do_not_depend_on_the_number_of_threads():
    features = torch.rand(3, 5, 50, requires_grad=True)
    groups = indices(50, 3, 40, 8)

    def gradient():
        features.grad = None
        grouping_operation(features, groups).pow(2).sum().backward()
        return features.grad

    alone = gradient()
    torch.set_num_threads(2)
    try:
        assert gradient().equal(alone)
    finally:
        torch.set_num_threads(1)
