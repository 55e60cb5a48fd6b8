"""What scatters into voxels and crops out of them, and what is written."""

import copy

import pytest
import torch
from torch import nn

pytest.importorskip('mmdet3d.models', reason='needs mmdet3d')

from mmcv.ops.roiaware_pool3d import RoIAwarePool3dFunction  # noqa: E402
from mmcv.ops.scatter_points import _DynamicScatter  # noqa: E402
from mmdet3d.models.data_preprocessors.voxelize import (  # noqa: E402
    _DynamicScatter as _MappedScatter,
)
from mmdet3d.models.middle_encoders import PointPillarsScatter  # noqa: E402

from chex_mm import mask_channels, slim, trace_channels  # noqa: E402
from chex_mm.surgery import compare  # noqa: E402
from chex_mm.trace.cuts import random_masks  # noqa: E402

from ..trace.cases import Given, Plain, outcome  # noqa: E402
from .kernel_calls import Kernel  # noqa: E402

ALL = 1, 2, 3, 4
ROWS = Given(ALL, (6, 4))  # (points, channels)
PLACES = Given((7, 8, 9), (6, 3))
WHERE = torch.tensor([0, 2, 4, 5, 6, 8])
LABELS = torch.tensor(ALL)
FUNCTIONS = _DynamicScatter, _MappedScatter, RoIAwarePool3dFunction


def test_scattered_points_keep_their_channels():
    kernel = Kernel(_DynamicScatter, {}, ((5, 4), (5, 3)))
    found = outcome(kernel, ROWS, Plain(torch.zeros(6, 3)))
    assert torch.equal(found.labels[0], LABELS.expand(5, 4))
    assert not found.labels[1].any()
    assert found.ties == set() and found.pins == {}


def test_which_voxel_holds_a_point_carries_no_channels():
    kernel = Kernel(_MappedScatter, {}, ((5, 4), (5, 3), (6, 1)))
    found = outcome(kernel, ROWS, Plain(torch.zeros(6, 3)))
    assert torch.equal(found.labels[0], LABELS.expand(5, 4))
    assert not found.labels[1].any() and not found.labels[2].any()
    assert found.ties == set() and found.pins == {}


@pytest.mark.parametrize('function', [_DynamicScatter, _MappedScatter])
def test_where_points_are_scattered_is_pinned(function):
    kernel = Kernel(function, {}, ((5, 4), (5, 3)))
    assert set(outcome(kernel, ROWS, PLACES).pins) == {7, 8, 9}


def test_pooled_points_have_their_channels_last():
    kernel = Kernel(RoIAwarePool3dFunction, {}, (2, 3, 3, 3, 4))
    plain = Plain(torch.zeros(2, 7)), Plain(torch.zeros(6, 3))
    found = outcome(kernel, *plain, ROWS)
    assert torch.equal(found.labels[0], LABELS.expand(2, 3, 3, 3, 4))
    assert found.pins == {}


def test_where_points_are_pooled_is_pinned():
    kernel = Kernel(RoIAwarePool3dFunction, {}, (2, 3, 3, 3, 4))
    regions = Plain(torch.zeros(2, 7))
    assert set(outcome(kernel, regions, PLACES, ROWS).pins) == {7, 8, 9}


# What is written into a canvas ----------------------------------------------


def columns_at(x, canvas):
    canvas[:, WHERE] = x.t()
    return canvas


def test_columns_written_into_a_fresh_canvas_are_its_channels():
    found = outcome(lambda x: columns_at(x, torch.zeros(4, 9)), ROWS)
    assert torch.equal(found.labels[0], LABELS[:, None].expand(4, 9))
    assert found.ties == set() and found.pins == {} and found.unknown == ()


def test_a_second_write_ties():
    def twice(x, y):
        return columns_at(y, columns_at(x, torch.zeros(4, 9)))

    found = outcome(twice, ROWS, Given((5, 6, 7, 8), (6, 4)))
    assert found.ties == {(1, 5), (2, 6), (3, 7), (4, 8)}


def test_a_canvas_that_was_not_fresh_pins():
    found = outcome(lambda x: columns_at(x, torch.rand(4, 9)), ROWS)
    assert set(found.pins) == set(ALL)


@pytest.mark.parametrize('shape', [(6, 4), (6, 4, 5)])
def test_a_number_written_at_a_mask_leaves_the_channels(shape):
    mask = torch.tensor([True, False, True, False, False, True])

    def fill(x):
        x[mask] = 0
        return x

    found = outcome(fill, Given(ALL, shape))
    expected = LABELS.view(4, *(1,) * (len(shape) - 2)).expand(shape)
    assert torch.equal(found.labels[0], expected)
    assert found.ties == set() and found.pins == {} and found.unknown == ()


def test_channels_that_differ_where_they_are_written_are_not_understood():
    def scatter(x):
        canvas = torch.zeros(9, 6)
        canvas[torch.tensor([0, 3, 5, 7])] = x.t()
        return canvas

    found = outcome(scatter, ROWS)
    assert [op.op for op in found.unknown] == ['aten.index_put_.default']
    assert set(found.pins) == set(ALL)


def test_indices_apart_are_not_understood():
    def scatter(x):
        canvas = torch.zeros(9, 4, 9)
        canvas[WHERE, :, WHERE] = x
        return canvas

    found = outcome(scatter, ROWS)
    assert [op.op for op in found.unknown] == ['aten.index_put_.default']
    assert set(found.pins) == set(ALL)


# Networks -------------------------------------------------------------------


def check_exact(model, *inputs):
    """Traces and cuts at random; returns the graph and the narrow model."""
    graph = trace_channels(model.eval(), inputs, strict=True)
    keep = random_masks(graph)
    narrow = slim(model, graph, keep)
    masked = copy.deepcopy(model)
    mask_channels(masked, graph, keep)
    found = compare(masked, narrow, lambda m: m(*inputs))
    assert found.max_rel < 1e-5
    return graph, narrow


class Pillars(nn.Module):
    """PointPillars in small; its scatter allocates by an attribute."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(3, 8)
        self.scatter = PointPillarsScatter(8, [6, 7])
        self.conv = nn.Conv2d(8, 4, 3)

    def forward(self, x, places):
        canvas = self.scatter(self.encode(x).relu(), places, batch_size=2)
        return self.conv(canvas)


def test_the_canvas_of_pillars_follows_a_cut():
    places = torch.tensor([[0, 0, 1, 2], [0, 0, 5, 6], [1, 0, 0, 0]])
    graph, narrow = check_exact(Pillars(), torch.randn(3, 3), places)
    assert list(graph.free) == ['encode']
    assert narrow.scatter.in_channels == narrow.encode.out_features < 8


class Reduced(nn.Module):
    """Part-A2's merging: neighbouring channels are summed in pairs."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 8)
        self.second = nn.Linear(8, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        x = self.first(x)
        merged = self.second(x)
        return self.last(merged + x.view(len(x), merged.shape[1], -1).sum(2))


def test_channels_that_are_summed_in_rows_are_cut_by_rows():
    graph, _ = check_exact(Reduced(), torch.randn(5, 3))
    (group,) = graph.free.values()
    rows = {s.tensor: s.index.tolist() for s in group.producers}
    assert rows == {
        'first.weight': [[0, 1], [2, 3], [4, 5], [6, 7]],
        'second.weight': [[0], [1], [2], [3]],
    }


@pytest.mark.parametrize('bias', [True, False])
def test_a_linear_layer_to_a_single_number_reads_channels(bias):
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 1, bias=bias))
    graph, _ = check_exact(model, torch.randn(5, 3))
    assert list(graph.free) == ['0']
    assert graph.flops() == 5 * (3 * 8 + 8)
