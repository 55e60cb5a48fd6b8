"""Real detectors of mmdet: found whole, counted right, cut exactly."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from chex_mm import ChannelGraph, mask_channels, slim
from chex_mm.adopt.analysis import settle_norms
from chex_mm.graph.groups import Role
from chex_mm.packages.mmdet import SharedRegions
from chex_mm.packages.paths import generated_batch, run_paths, trace_detector
from chex_mm.surgery import compare
from chex_mm.trace.cuts import random_masks

from .small_detectors import DETECTORS, NECK, SIDE, build_small

# What mmdet calls on this torch.
pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in ('torch.meshgrid', '`torch.cuda.amp')
]

QUICK = 'retinanet'
CLS_REG = ('cls', 'reg')
RPN = {'rpn_head.rpn_cls', 'rpn_head.rpn_reg'}
BOX = {'roi_head.bbox_head.fc_cls', 'roi_head.bbox_head.fc_reg'}
# Convolutions and linear layers whose output nothing may cut.
ENDS = {
    'retinanet': {'bbox_head.retina_cls', 'bbox_head.retina_reg'},
    'faster_rcnn': RPN | BOX,
    'mask_rcnn': RPN | BOX | {'roi_head.mask_head.conv_logits'},
    'ssd': {f'bbox_head.{c}_convs.{i}.0' for c in CLS_REG for i in range(6)},
    'rtmdet': {f'bbox_head.rtm_{c}.{i}' for c in CLS_REG for i in range(3)},
    'yolox': {
        f'bbox_head.multi_level_conv_{c}.{i}'
        for c in (*CLS_REG, 'obj')
        for i in range(3)
    },
    'fcos': {
        'bbox_head.conv_cls',
        'bbox_head.conv_reg',
        'bbox_head.conv_centerness',
    },
}


@dataclass
class Traced:
    name: str
    model: nn.Module
    batch: dict
    graph: ChannelGraph


@pytest.fixture(
    scope='module',
    params=[
        pytest.param(d, marks=[] if d == QUICK else pytest.mark.slow)
        for d in DETECTORS
    ],
)
def traced(request):
    torch.manual_seed(0)
    model = build_small(request.param)
    batch = generated_batch(model, (3, SIDE, SIDE))
    graph = trace_detector(model, batch)
    settle_norms(model, run_paths(model, batch).cost, torch.Generator())
    return Traced(request.param, model, batch, graph)


@pytest.fixture
def pair(traced):
    """The masked and the narrow model, and what was kept."""
    keep = random_masks(traced.graph, seed=1)
    masked = copy.deepcopy(traced.model)
    mask_channels(masked, traced.graph, keep)
    return masked, slim(traced.model, traced.graph, keep), keep


def weighted(model):
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    return {n for n, m in model.named_modules() if isinstance(m, kinds)}


def test_every_convolution_and_linear_layer_may_be_cut(traced):
    found = {m for g in traced.graph.free.values() for m in g.modules}
    # A depthwise convolution computes the channels of the one before it.
    found |= {
        s.tensor.rpartition('.')[0]
        for g in traced.graph.free.values()
        for s in g.with_role(Role.FILTER)
    }
    assert traced.graph.unknown_ops == ()
    assert weighted(traced.model) - found == ENDS[traced.name]


def test_narrow_equals_masked(traced, pair):
    masked, narrow, _ = pair
    paths = run_paths(copy.deepcopy(masked), traced.batch)
    outputs = compare(masked, narrow, SharedRegions(paths.cost))
    # Some outputs are pixels, some nearly zero.
    assert min(outputs.max_abs, outputs.max_rel) < 1e-5
    assert outputs.aligned
    predict = next(path for path in paths.also if path.mode == 'predict')
    predictions = compare(masked, narrow, predict)
    assert predictions.aligned
    assert predictions.max_rel < 1e-4
    assert predictions.at_decisions < 1e-3


def test_flops_are_those_of_an_independent_counter(traced, pair):
    masked, narrow, keep = pair
    graph, counted = traced.graph, []
    cost = run_paths(copy.deepcopy(masked), traced.batch).cost

    def run(model):
        with FlopCounterMode(display=False) as counter:
            out = cost(model)
        counted.append(counter.get_total_flops())
        return out

    compare(masked, narrow, run)
    dense, slim_ = counted
    assert graph.flops() == dense // 2  # one image, multiply-adds
    assert graph.flops(graph.counts(keep)) == slim_ // 2
    assert graph.params(graph.counts(keep)) == sum(
        p.numel() for p in narrow.parameters()
    )


def of(name):
    """A test of one detector."""
    marks = [] if name == QUICK else pytest.mark.slow
    return pytest.mark.parametrize(
        'traced', [pytest.param(name, marks=marks)], indirect=True
    )


def group_with(graph, tensor, role):
    """The group that has a slice of that tensor and role, and the slice."""
    return next(
        (group, piece)
        for group in graph.groups.values()
        for piece in group.with_role(role)
        if piece.tensor == tensor
    )


@of('retinanet')
def test_a_shared_head_couples_all_levels_of_the_fpn(traced):
    group, _ = group_with(
        traced.graph, 'bbox_head.cls_convs.0.conv.weight', Role.COLUMN
    )
    levels = {f'neck.fpn_convs.{i}.conv' for i in range(5)}
    assert levels <= set(group.modules)
    head = {
        s.tensor
        for s in group.with_role(Role.COLUMN)
        if s.tensor.startswith('bbox_head')
    }
    assert head == {f'bbox_head.{c}_convs.0.conv.weight' for c in CLS_REG}
    # Five levels, one weight: counted five times, owned once.
    calls = [
        w
        for w in traced.graph.work
        if w.module == 'bbox_head.cls_convs.0.conv'
    ]
    assert len(calls) == 5


@of('faster_rcnn')
def test_a_linear_layer_reads_49_columns_of_each_channel(traced):
    group, columns = group_with(
        traced.graph, 'roi_head.bbox_head.shared_fcs.0.weight', Role.COLUMN
    )
    assert set(group.modules) >= {f'neck.fpn_convs.{i}.conv' for i in range(4)}
    assert group.pinned is None
    expected = torch.arange(NECK * 49).view(NECK, 49)
    assert torch.equal(columns.index, expected)


@of('mask_rcnn')
def test_a_transposed_convolution_computes_along_its_second_dimension(traced):
    weight = 'roi_head.mask_head.upsample.weight'
    group, rows = group_with(traced.graph, weight, Role.ROW)
    assert rows.dim == 1
    assert group.pinned is None
    tensors = {s.tensor for s in group.with_role(Role.COLUMN)}
    assert tensors == {'roi_head.mask_head.conv_logits.weight'}
    _, columns = group_with(traced.graph, weight, Role.COLUMN)
    assert columns.dim == 0


@of('fcos')
def test_group_norm_is_cut_by_whole_norm_groups(traced, pair):
    _, narrow, keep = pair
    for branch in CLS_REG:
        name = f'bbox_head.{branch}_convs.0'
        group, rows = group_with(traced.graph, f'{name}.conv.weight', Role.ROW)
        assert rows.index.tolist() == [[2 * c, 2 * c + 1] for c in range(32)]
        norm = narrow.get_submodule(f'{name}.gn')
        count = int(keep[group.name].sum())
        assert (norm.num_groups, norm.num_channels) == (count, 2 * count)


@of('rtmdet')
def test_convolutions_shared_by_levels_keep_norms_of_their_own(traced):
    group, _ = group_with(
        traced.graph, 'bbox_head.cls_convs.0.0.conv.weight', Role.ROW
    )
    scales = {s.tensor for s in group.with_role(Role.SCALE)}
    assert scales == {f'bbox_head.cls_convs.{i}.0.bn.weight' for i in range(3)}


@of('ssd')
def test_a_norm_over_channels_goes_with_them(traced):
    """L2Norm divides by the norm over the channels of the first map."""
    group, _ = group_with(
        traced.graph, 'backbone.layer2.1.conv2.weight', Role.ROW
    )
    assert group.pinned is None
    assert 'neck.l2_norm.weight' in {piece.tensor for piece in group.slices}
