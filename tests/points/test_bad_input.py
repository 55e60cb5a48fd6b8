"""Broken clouds end in a clear error or in mmcv's own answer."""

from importlib.util import find_spec

import pytest
import torch

if not (find_spec('mmcv') and find_spec('mmcv._ext') and find_spec('numba')):
    pytest.skip('needs mmcv with operators and numba', allow_module_level=True)

from mmcv.ops import (
    assign_score_withk,
    ball_query,
    furthest_point_sample,
    furthest_point_sample_with_dist,
    gather_points,
    grouping_operation,
    knn,
    nms3d,
    points_in_boxes_part,
    three_interpolate,
    three_nn,
)
from mmcv.ops.scatter_points import dynamic_scatter

import chex_mm.engine  # noqa: F401

NAN = float('nan')
ZEROS = torch.zeros(1, 2, 3, dtype=torch.int32)


def points(count):
    return torch.rand(1, count, 3)


def counts(*values):
    return torch.tensor(values, dtype=torch.int32)


ERRORS = {
    'no point to sample from': (
        lambda: furthest_point_sample(points(0), 2),
        r'furthest_point_sample found no point to choose 2 from',
    ),
    'no distance to sample from': (
        lambda: furthest_point_sample_with_dist(torch.rand(1, 0, 0), 2),
        r'furthest_point_sample_with_dist found no point to choose 2',
    ),
    'NaN among points': (
        lambda: furthest_point_sample(points(4).fill_(NAN), 2),
        r'furthest_point_sample found NaN or infinity .* \(1, 4, 3\)',
    ),
    'infinite distance': (
        lambda: furthest_point_sample_with_dist(
            torch.full((1, 3, 3), float('inf')), 2
        ),
        'furthest_point_sample_with_dist found NaN or infinity',
    ),
    'radii in the wrong order': (
        lambda: ball_query(1.0, 0.5, 4, points(5), points(2)),
        'ball_query needs min_radius < max_radius, found 1.0 and 0.5',
    ),
    'other batch sizes': (
        lambda: ball_query(0, 1, 4, points(5), torch.rand(2, 2, 3)),
        r'ball_query needs points .* \(1, 5, 3\) and \(2, 2, 3\)',
    ),
    'two coordinates': (
        lambda: knn(1, torch.rand(1, 5, 2)),
        r'knn needs points \(B, N, 3\)',
    ),
    'too many neighbours': (
        lambda: knn(100, points(5)),
        'knn needs 0 < k < 100',
    ),
    'sizes of stacked clouds': (
        lambda: ball_query(
            0, 1, 4, points(5)[0], points(2)[0], counts(4), counts(2)
        ),
        r'ball_query got 5 points in clouds of \[4\]',
    ),
    'sizes of stacked groups': (
        lambda: grouping_operation(
            torch.rand(5, 3), ZEROS[0], counts(5), counts(3)
        ),
        r'2 groups in clouds of \[3\]',
    ),
    'group from nothing': (
        lambda: grouping_operation(torch.rand(1, 3, 0), ZEROS),
        r'grouping_operation got indices from 0 to 0 into .* \(1, 3, 0\)',
    ),
    'index too high': (
        lambda: gather_points(torch.rand(1, 3, 4), ZEROS[..., 0] + 4),
        'gather_points got indices from 4 to 4',
    ),
    'index below zero': (
        lambda: three_interpolate(
            torch.rand(1, 3, 4), ZEROS - 1, torch.rand(1, 2, 3)
        ),
        'three_interpolate got indices from -1 to -1',
    ),
    'other batch of indices': (
        lambda: gather_points(torch.rand(2, 3, 4), ZEROS[..., 0]),
        'gather_points got features .* the first dimensions must be equal',
    ),
    'unknown reduction': (
        lambda: dynamic_scatter(torch.rand(2, 3), ZEROS[0], 'median'),
        "dynamic_scatter reduces by .* found 'median'",
    ),
    'boxes without a heading': (
        lambda: nms3d(torch.rand(3, 6), torch.rand(3), 0.5),
        r'nms3d needs boxes \(N, 7\)',
    ),
    'a centre that does not exist': (
        lambda: assign_score_withk(
            torch.rand(1, 2, 3, 4),
            torch.rand(1, 5, 4, 2),
            torch.rand(1, 5, 4, 2),
            ZEROS.long() - 1,
        ),
        'assign_score_withk takes the first neighbour as the centre',
    ),
}


@pytest.mark.parametrize('case', ERRORS)
def test_error(case):
    call, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_more_samples_than_points_repeat_the_first():
    assert furthest_point_sample(points(1), 3).tolist() == [[0, 0, 0]]
    assert furthest_point_sample(points(3), 0).shape == (1, 0)


@pytest.mark.parametrize('broken', [0, 3])
def test_nothing_is_near_an_empty_cloud_or_nan(broken):
    cloud = points(broken).fill_(NAN)
    centres = points(2)
    assert ball_query(0, 1, 2, cloud, centres).tolist() == [[[0, 0]] * 2]
    assert knn(2, cloud, centres).tolist() == [[[0, 0]] * 2]
    distances, found = three_nn(centres, cloud)
    assert distances.isinf().all() and not found.any()


def test_no_voxel_holds_a_point():
    features = torch.rand(4, 2, requires_grad=True)
    outside = torch.full((4, 3), -1, dtype=torch.int32)
    for coordinates, given in ((outside, features), (outside[:0], None)):
        given = features[:0] if given is None else given
        out, rows = dynamic_scatter(given, coordinates, 'mean')
        assert out.shape == (0, 2) and rows.shape == (0, 3)
        out.sum().backward()
    assert not features.grad.any()


def test_no_box():
    assert nms3d(torch.rand(0, 7), torch.rand(0), 0.5).shape == (0,)
    inside = points_in_boxes_part(points(4), torch.rand(1, 0, 7))
    assert inside.tolist() == [[-1] * 4]


def test_a_box_of_nan_suppresses_nothing():
    boxes = torch.rand(3, 7) + 0.5
    boxes[0] = NAN
    kept = nms3d(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.01)
    assert 0 in kept and 1 in kept
