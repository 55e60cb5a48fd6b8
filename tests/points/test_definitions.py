"""Every CPU kernel gives what its definition says, ties included."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

if not (find_spec('mmcv') and find_spec('mmcv._ext') and find_spec('numba')):
    pytest.skip('needs mmcv with operators and numba', allow_module_level=True)

from mmcv.ops import (
    RoIAwarePool3d,
    RoIPointPool3d,
    assign_score_withk,
    ball_query,
    furthest_point_sample,
    furthest_point_sample_with_dist,
    gather_points,
    grouping_operation,
    knn,
    nms3d,
    nms3d_normal,
    points_in_boxes_all,
    points_in_boxes_part,
    three_interpolate,
    three_nn,
)
from mmcv.ops.assign_score_withk import AssignScoreWithK
from mmcv.ops.ball_query import BallQuery
from mmcv.ops.furthest_point_sample import (
    FurthestPointSampling,
    FurthestPointSamplingWithDist,
)
from mmcv.ops.gather_points import GatherPoints
from mmcv.ops.group_points import GroupingOperation
from mmcv.ops.knn import KNN
from mmcv.ops.roiaware_pool3d import RoIAwarePool3dFunction
from mmcv.ops.roipoint_pool3d import RoIPointPool3dFunction
from mmcv.ops.scatter_points import _DynamicScatter, dynamic_scatter
from mmcv.ops.three_interpolate import ThreeInterpolate
from mmcv.ops.three_nn import ThreeNN

import chex_mm.engine  # noqa: F401

from . import definitions
from .covered import covers

SEEDS = st.integers(0, 10**6)
SIZES = st.integers(1, 40)


def cloud(generator, *shape, grid):
    """Points on a coarse grid, with many ties and duplicates, or anywhere."""
    if grid:
        return generator.integers(0, 4, (*shape, 3)).astype(np.float32)
    return generator.random((*shape, 3), np.float32)


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


@covers(FurthestPointSampling)
@given(SEEDS, SIZES, st.integers(0, 50), st.booleans())
def test_furthest_points(seed, count, wanted, grid):
    points = cloud(np.random.default_rng(seed), 2, count, grid=grid)
    found = furthest_point_sample(torch.from_numpy(points), wanted)
    assert found.dtype == torch.int32
    for one, indices in zip(points, found.tolist()):
        assert indices == definitions.furthest(
            lambda i, j, p=one: definitions.square(p[j], p[i]), count, wanted
        )


def test_furthest_points_prefer_as_a_full_block_of_threads():
    points = np.zeros((1, 2500, 3), np.float32)
    points[0, [700, 1024 + 3, 1536, 2047, 2100], 0] = 1
    found = furthest_point_sample(torch.from_numpy(points), 3).tolist()
    # 1536 is of thread 512, which meets thread 0 in the first comparison.
    assert found == [[0, 1536, 0]]
    assert found[0] == definitions.furthest(
        lambda i, j: definitions.square(points[0, j], points[0, i]), 2500, 3
    )


@covers(FurthestPointSamplingWithDist)
@given(SEEDS, SIZES, st.integers(0, 50), st.booleans())
def test_furthest_points_of_distances(seed, count, wanted, grid):
    generator = np.random.default_rng(seed)
    distances = generator.random((2, count, count), np.float32)
    if grid:
        distances = np.round(distances * 3)
    found = furthest_point_sample_with_dist(
        torch.from_numpy(distances), wanted
    )
    for one, indices in zip(distances, found.tolist()):
        assert indices == definitions.furthest(
            lambda i, j, d=one: d[i, j], count, wanted
        )


@covers(BallQuery)
@given(SEEDS, SIZES, SIZES, st.integers(1, 9), st.booleans())
def test_ball_query(seed, count, rows, wanted, grid):
    generator = np.random.default_rng(seed)
    points = cloud(generator, 2, count, grid=grid)
    centres = cloud(generator, 2, rows, grid=grid)
    # On the grid both radii are reached exactly.
    radii = generator.permutation([(0, 1), (1, 2), (0.5, 2), (0, 0.01)])[0]
    found = ball_query(*radii, wanted, *tensors(points, centres))
    assert found.dtype == torch.int32 and found.shape == (2, rows, wanted)
    for batch in range(2):
        for centre, indices in zip(centres[batch], found[batch].tolist()):
            expected = definitions.ball(points[batch], centre, radii, wanted)
            assert indices == (expected or [0] * wanted)


@given(SEEDS, st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_stacked_ball_query(seed, sizes):
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, 6, len(sizes))
    points = [cloud(generator, n, grid=True) for n in sizes]
    centres = [cloud(generator, n, grid=True) for n in rows]
    found = ball_query(
        0,
        1.5,
        4,
        *tensors(np.concatenate(points), np.concatenate(centres)),
        torch.tensor(sizes, dtype=torch.int32),
        torch.tensor(rows, dtype=torch.int32),
    )
    expected = [
        definitions.ball(p, centre, (0, 1.5), 4) or [-1, 0, 0, 0]
        for p, c in zip(points, centres)
        for centre in c
    ]
    assert found.tolist() == expected


@covers(KNN)
@given(SEEDS, SIZES, SIZES, st.integers(1, 12), st.booleans())
def test_knn(seed, count, rows, wanted, grid):
    generator = np.random.default_rng(seed)
    points = cloud(generator, 2, count, grid=grid)
    centres = cloud(generator, 2, rows, grid=grid)
    found = knn(wanted, *tensors(points, centres))
    assert found.dtype == torch.int32 and found.shape == (2, wanted, rows)
    for batch in range(2):
        for centre, indices in zip(centres[batch], found[batch].T.tolist()):
            expected = definitions.nearest(points[batch], centre, wanted)
            assert indices == expected
    columns = [t.transpose(1, 2) for t in tensors(points, centres)]
    assert knn(wanted, *columns, True).equal(found)


def test_knn_of_features_reads_three_numbers_per_point_as_mmcv_does():
    features = torch.rand(2, 10, 5)
    read = features.flatten()[:60].view(2, 10, 3)
    assert knn(4, features, features).equal(knn(4, read, read))


def test_knn_finds_the_nearest_of_all():
    points, centres = torch.rand(1, 200, 3), torch.rand(1, 50, 3)
    expected = torch.cdist(centres, points).topk(9, largest=False)[1]
    found = knn(9, points, centres)
    assert found.transpose(1, 2).equal(expected.int())
    assert knn(3, points)[0, 0].equal(torch.arange(200, dtype=torch.int32))


@covers(ThreeNN)
@given(SEEDS, st.integers(0, 9), SIZES, st.booleans())
def test_three_nn(seed, count, rows, grid):
    generator = np.random.default_rng(seed)
    points = cloud(generator, 2, count, grid=grid)
    centres = cloud(generator, 2, rows, grid=grid)
    distances, found = three_nn(*tensors(centres, points))
    assert found.dtype == torch.int32 and distances.dtype == torch.float32
    for batch in range(2):
        for row, centre in enumerate(centres[batch]):
            expected = definitions.three(points[batch], centre)
            assert distances[batch, row].tolist() == expected[0]
            assert found[batch, row].tolist() == expected[1]


@covers(GatherPoints)
@covers(GroupingOperation)
@covers(ThreeInterpolate)
def test_gather_group_and_interpolate():
    features = torch.rand(2, 3, 10)
    few = torch.randint(10, (2, 4), dtype=torch.int32)
    groups = torch.randint(10, (2, 5, 3), dtype=torch.int32)
    weight = torch.rand(2, 5, 3)
    gathered = gather_points(features, few)
    grouped = grouping_operation(features, groups)
    mixed = three_interpolate(features, groups, weight)
    for b in range(2):
        for c in range(3):
            row = features[b, c]
            assert gathered[b, c].equal(row[few[b].long()])
            assert grouped[b, c].equal(row[groups[b].long()])
            expected = (row[groups[b].long()] * weight[b]).sum(-1)
            torch.testing.assert_close(mixed[b, c], expected)


def test_stacked_grouping():
    features = torch.rand(7, 3)
    indices = torch.tensor([[0, 2], [1, 1], [3, 0]], dtype=torch.int32)
    counts = (torch.tensor(n, dtype=torch.int32) for n in ([3, 4], [1, 2]))
    grouped = grouping_operation(features, indices, *counts)
    rows = torch.tensor([[0, 2], [4, 4], [6, 3]])
    assert grouped.equal(features[rows].transpose(1, 2))


@covers(_DynamicScatter)
@pytest.mark.parametrize('reduction', ['sum', 'mean', 'max'])
@given(SEEDS, SIZES)
def test_dynamic_scatter(reduction, seed, count):
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((count, 4)).astype(np.float32)
    coordinates = generator.integers(-1, 3, (count, 3)).astype(np.int32)
    out, rows = dynamic_scatter(*tensors(features, coordinates), reduction)
    expected = definitions.voxels(features, coordinates, reduction)
    assert rows.dtype == torch.int32
    assert rows.tolist() == [list(key) for key, _ in expected]
    values = np.reshape([value for _, value in expected], (-1, 4))
    np.testing.assert_allclose(out.numpy(), values, rtol=1e-5, atol=1e-6)


def turned_boxes(generator, count):
    boxes = generator.random((count, 7), np.float32)
    return boxes * np.float32([6, 6, 1, 2, 2, 1, 6]) + np.float32(
        [0, 0, 0, 1, 1, 0.5, 0]
    )


@covers(points_in_boxes_all, None)
@covers(points_in_boxes_part, None)
@given(SEEDS, st.integers(0, 6))
def test_points_in_boxes(seed, count):
    generator = np.random.default_rng(seed)
    boxes = np.stack([turned_boxes(generator, count) for _ in range(2)])
    points = generator.random((2, 50, 3), np.float32) * np.float32([6, 6, 2])
    inside = points_in_boxes_all(*tensors(points, boxes))
    first = points_in_boxes_part(*tensors(points, boxes))
    assert inside.dtype == first.dtype == torch.int32
    for b in range(2):
        for point, row, box in zip(points[b], inside[b], first[b]):
            holds = [definitions.is_in_box(point, one) for one in boxes[b]]
            assert row.tolist() == holds
            assert box == (holds.index(True) if any(holds) else -1)


def test_points_on_the_faces_of_a_box():
    box = torch.tensor([[[0, 0, 0, 2, 2, 2, 0.0]]])
    faces = torch.tensor([[[1, 0, 1], [0, -1, 1], [0, 0, 0], [0, 0, 2.0]]])
    # Sides are outside, floor and ceiling inside.
    assert points_in_boxes_all(faces, box).flatten().tolist() == [0, 0, 1, 1]


@covers(nms3d, None)
@covers(nms3d_normal, None)
@settings(max_examples=30)
@pytest.mark.parametrize('suppress', [nms3d, nms3d_normal])
@given(SEEDS, st.integers(0, 12))
def test_suppression(suppress, seed, count):
    generator = np.random.default_rng(seed)
    boxes = turned_boxes(generator, count)
    scores = generator.random(count, np.float32)
    is_turned = suppress is nms3d
    overlaps = [definitions.iou(a, b, is_turned) for a in boxes for b in boxes]
    # A threshold that mmcv's margin of 1 cm cannot cross.
    threshold = max(
        np.linspace(0.05, 0.6, 50),
        key=lambda t: min((abs(t - o) for o in overlaps), default=0),
    )
    found = suppress(*tensors(boxes, scores), threshold)
    assert found.tolist() == definitions.kept(
        boxes, scores, threshold, is_turned
    )


def test_suppression_keeps_the_margin_of_mmcv():
    boxes = torch.tensor(
        [
            [0, 0, 0, 1, 1, 1, 0],
            [1.005, 0, 0, 1, 1, 1, 0],
            [3.0, 0, 0, 1, 1, 1, 0],
        ]
    )
    scores = torch.tensor([0.5, 0.9, 0.1])
    # Half a centimetre apart: an overlap of 1 x 0.005, so 0.0025 of the union.
    assert nms3d(boxes, scores, 0.002).tolist() == [1, 2]
    assert nms3d(boxes, scores, 0.003).tolist() == [1, 0, 2]
    assert nms3d_normal(boxes, scores, 0.0).tolist() == [1, 0, 2]


@covers(RoIAwarePool3dFunction)
@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('mode', ['max', 'avg'])
def test_voxels_of_regions(mode, seed):
    generator = np.random.default_rng(seed)
    boxes = turned_boxes(generator, 3)
    points = generator.random((80, 3), np.float32) * np.float32([6, 6, 2])
    features = generator.standard_normal((80, 2)).astype(np.float32)
    pool = RoIAwarePool3d((2, 1, 3), 3, mode)
    pooled = pool(*tensors(boxes, points, features))
    assert pooled.shape == (3, 2, 1, 3, 2)
    reduce = dict(max=np.max, avg=np.mean)[mode]
    for box, out in zip(boxes, pooled.numpy()):
        expected = np.zeros_like(out)
        members = definitions.voxel_members(points, box, (2, 1, 3), 2)
        for voxel, indices in members.items():
            expected[voxel] = reduce(features[indices], axis=0)
        np.testing.assert_allclose(out, expected, rtol=1e-6)


@covers(RoIPointPool3dFunction)
@pytest.mark.parametrize('seed', range(5))
def test_points_of_regions(seed):
    generator = np.random.default_rng(seed)
    boxes = turned_boxes(generator, 4)[None]
    boxes[0, 3, :2] = 100  # far from all points
    points = generator.random((1, 40, 3), np.float32) * np.float32([6, 6, 2])
    features = generator.random((1, 40, 2), np.float32)
    pooled, empty = RoIPointPool3d(4)(*tensors(points, features, boxes))
    assert empty.dtype == torch.int32 and empty[0, 3] == 1
    both = np.concatenate((points, features), -1)[0]
    for box, out, is_empty in zip(boxes[0], pooled[0], empty[0]):
        held = [
            k for k in range(40) if definitions.is_in_box(points[0, k], box)
        ]
        assert is_empty == (not held)
        chosen = (
            [held[:4][k % len(held[:4])] for k in range(4)] if held else []
        )
        expected = both[chosen] if held else np.zeros((4, 5))
        np.testing.assert_array_equal(out.numpy(), expected)


@covers(AssignScoreWithK)
def test_score_assignment():
    generator = np.random.default_rng(0)
    scores = generator.random((2, 5, 3, 4))
    points, centres = generator.random((2, 2, 7, 4, 6))
    neighbours = generator.integers(0, 7, (2, 5, 3))
    neighbours[0, 1, 1], neighbours[1, 2, 2] = -1, 7  # out of range: nothing
    arrays = scores, points, centres, neighbours
    out = assign_score_withk(*tensors(*arrays))
    for cloud_out, *one in zip(out.numpy(), *arrays):
        np.testing.assert_allclose(cloud_out, definitions.assigned(*one))
