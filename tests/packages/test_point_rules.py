"""Rules for mmcv's point operators: labels in, labels, ties and pins out."""

import pytest
import torch
from torch import nn

pytest.importorskip('mmcv._ext', reason="needs mmcv's operators")

from mmcv.ops import QueryAndGroup, gather_points  # noqa: E402
from mmcv.ops.assign_score_withk import AssignScoreWithK  # noqa: E402
from mmcv.ops.ball_query import BallQuery  # noqa: E402
from mmcv.ops.diff_iou_rotated import SortVertices  # noqa: E402
from mmcv.ops.furthest_point_sample import (  # noqa: E402
    FurthestPointSampling,
    FurthestPointSamplingWithDist,
)
from mmcv.ops.gather_points import GatherPoints  # noqa: E402
from mmcv.ops.group_points import GroupingOperation  # noqa: E402
from mmcv.ops.knn import KNN  # noqa: E402
from mmcv.ops.roipoint_pool3d import RoIPointPool3dFunction  # noqa: E402
from mmcv.ops.three_interpolate import ThreeInterpolate  # noqa: E402
from mmcv.ops.three_nn import ThreeNN  # noqa: E402

import chex_mm  # noqa: E402
import chex_mm.engine  # noqa: E402, F401  (fills the tables)
from chex_mm.graph.groups import Role  # noqa: E402
from chex_mm.surgery import compare  # noqa: E402
from chex_mm.trace.labels import spread  # noqa: E402

from ..trace.cases import Case, Given, Plain, outcome  # noqa: E402
from .kernel_calls import Kernel  # noqa: E402

CLOUD = Given(shape=(2, 4, 6))  # (batch, channels, points)
STACKED = Given(shape=(12, 4))  # (points of both clouds, channels)
PLACES = Given((7, 8, 9), (2, 6, 3), 2)  # (batch, points, coordinates)
XYZ = Plain(torch.zeros(2, 6, 3))
NEAR = Plain(torch.zeros(2, 5, 3, dtype=torch.int))
BANK = (2, 6, 3, 4)  # (batch, points, kernels, channels)
SCORES = Plain(torch.zeros(2, 5, 7, 3))  # (batch, centres, neighbours, k)


def case(function, shapes, *inputs, **found):
    """A call that returns tensors of these shapes."""
    return Case(function, Kernel(function, {}, shapes), inputs, **found)


CASES = [
    case(GatherPoints, (2, 4, 5), CLOUD, NEAR),
    case(GroupingOperation, (2, 4, 5, 3), CLOUD, NEAR),
    case(GroupingOperation, (5, 4, 3), STACKED, NEAR),
    case(ThreeInterpolate, (2, 4, 5), CLOUD, NEAR, XYZ),
    case(ThreeInterpolate, (2, 4, 5), CLOUD, NEAR, PLACES, pins=(7, 8, 9)),
    case(
        AssignScoreWithK,
        (2, 4, 5, 7),
        SCORES,
        Given((1, 2, 3, 4), BANK, 3),
        Given((5, 6, 7, 8), BANK, 3),
        NEAR,
        ties=((1, 5), (2, 6), (3, 7), (4, 8)),
    ),
    case(
        AssignScoreWithK,
        (2, 4, 5, 7),
        Given((9, 10, 11), (2, 5, 7, 3), 3),
        Given((1, 2, 3, 4), BANK, 3),
        Given((1, 2, 3, 4), BANK, 3),
        NEAR,
        pins=(9, 10, 11),
    ),
    case(
        RoIPointPool3dFunction,
        ((2, 5, 8, 7), (2, 5)),
        XYZ,
        Given(shape=(2, 6, 4), dim=2),
        Plain(torch.zeros(2, 5, 7)),
        out=[(0, 0, 0, 1, 2, 3, 4), None],
        dim=3,
    ),
    case(
        RoIPointPool3dFunction,
        ((2, 5, 8, 7), (2, 5)),
        PLACES,
        Given(shape=(2, 6, 4), dim=2),
        Plain(torch.zeros(2, 5, 7)),
        out=[(0, 0, 0, 1, 2, 3, 4), None],
        dim=3,
        pins=(7, 8, 9),
    ),
    case(ThreeNN, ((2, 6, 3),) * 2, XYZ, PLACES, out=None, pins=(7, 8, 9)),
    case(FurthestPointSampling, (2, 5), PLACES, out=None, pins=(7, 8, 9)),
    case(
        FurthestPointSamplingWithDist,
        (2, 5),
        Given((7, 8, 9), (2, 3, 3), 2),
        out=None,
        pins=(7, 8, 9),
    ),
    case(
        SortVertices,
        (1, 6, 9),
        Given((7, 8), (1, 6, 24, 2), 3),
        Plain(torch.zeros(1, 6, 24)),
        out=None,
        pins=(7, 8),
    ),
    case(KNN, (2, 3, 6), Plain(3), PLACES, XYZ, out=None, pins=(7, 8, 9)),
    case(
        BallQuery,
        (2, 6, 3),
        *(Plain(0.0), Plain(1.0), Plain(3)),
        *(XYZ, PLACES),
        out=None,
        pins=(7, 8, 9),
    ),
]


@pytest.mark.parametrize('case', CASES, ids=lambda c: c.key.__name__)
def test_rule(case):
    result = outcome(case.run, *case.inputs)
    assert case.key in result.used
    expected = case.out if isinstance(case.out, list) else [case.out]
    for out, labels, vector in zip(result.outs, result.labels, expected):
        if vector is None:
            assert not labels.any()
        else:
            vector = torch.tensor(vector)
            assert torch.equal(labels, spread(vector, out.shape, case.dim))
    assert result.ties == set(case.ties)
    assert set(result.pins) == set(case.pins)
    assert result.unknown == ()


# Coordinates in front of features --------------------------------------------


class SetAbstraction(nn.Module):
    """Two channels per point; then xyz and these two, of neighbours."""

    def __init__(self):
        super().__init__()
        self.before = nn.Conv1d(1, 2, 1)
        self.group = QueryAndGroup(0.7, 4)
        self.after = nn.Conv2d(5, 6, 1)
        self.last = nn.Conv2d(6, 2, 1)

    def forward(self, xyz, features):
        centres = gather_points(
            xyz.transpose(1, 2).contiguous(),
            torch.arange(8, dtype=torch.int).expand(2, 8).contiguous(),
        )
        centres = centres.transpose(1, 2).contiguous()
        grouped = self.group(xyz, centres, self.before(features))
        return self.last(self.after(grouped).relu().amax(-1, keepdim=True))


@pytest.fixture
def abstraction():
    pytest.importorskip('numba', reason="needs chex_mm's point kernels")
    torch.manual_seed(0)
    model = SetAbstraction().eval()
    inputs = torch.rand(2, 20, 3), torch.rand(2, 1, 20)
    return model, inputs, chex_mm.trace_channels(model, inputs)


def test_features_start_behind_the_coordinates(abstraction):
    _, _, graph = abstraction
    group = graph.groups['before']
    (columns,) = group.with_role(Role.COLUMN)
    assert columns.tensor == 'after.weight'
    assert columns.index.flatten().tolist() == [3, 4]
    fixed = graph.groups['after.input']
    assert fixed.slices[0].index.flatten().tolist() == [0, 1, 2]
    assert 'fixed size' in fixed.pinned


def test_the_columns_of_a_feature_go_and_those_of_xyz_stay(abstraction):
    model, inputs, graph = abstraction
    keep = {'before': torch.tensor([False, True])}
    narrow = chex_mm.slim(model, graph, keep)
    kept = model.after.weight[:, [0, 1, 2, 4]]
    assert torch.equal(narrow.after.weight, kept)
    chex_mm.mask_channels(model, graph, keep)
    difference = compare(model, narrow, lambda m: m(*inputs))
    assert difference.max_rel < 1e-6
    assert difference.decisions == 1  # which points are in a ball
