"""Models on points of mmdet3d: found whole, counted right, cut exactly."""

import copy
import re
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip('mmdet3d.models', reason='needs mmdet3d')

from chex_mm import ChannelGraph, mask_channels, slim  # noqa: E402
from chex_mm.adopt.analysis import settle_norms  # noqa: E402
from chex_mm.graph.groups import Role  # noqa: E402
from chex_mm.packages.paths import run_paths, trace_detector  # noqa: E402
from chex_mm.surgery import compare  # noqa: E402
from chex_mm.trace.cuts import random_masks  # noqa: E402

from .small_detectors3d import DETECTORS, build_small  # noqa: E402

# What mmdet3d calls on this torch.
pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in (
        'Unnecessary conv bias',
        'torch.meshgrid',
        '"iou_thr" is deprecated',
        'DeprecationWarning',
        'Using torch.cross without',
    )
]

QUICK = 'votenet', 'pointnet2_ssg'
# Votes move coordinates.
VOTES = r'(.*\.)?vote_module\.conv_out'
HEAD = rf'bbox_head\.conv_pred\.conv_(cls|reg)|{VOTES}'
SEGMENTS = r'decode_head\.conv_seg'
IMAGE = r'img_rpn_head\.rpn_\w+|img_roi_head\.bbox_head\.fc_\w+'
# Scores of a softmax over kernels.
PACONV = rf'{SEGMENTS}|.*\.scorenet\.mlps\.layer3\.conv'
# The stream that LayerNorm and attention share.
STREAM = (
    r'bbox_head\.decoder_(query|key)_proj'
    r'|bbox_head\.decoder_layers\.\d\.(attentions\.\d\.attn\.out_proj'
    r'|ffns\.0\.layers\.1)'
    r'|bbox_head\.decoder_\w+_posembeds\.\d\.position_embedding_head\.3'
)
# Convolutions and linear layers whose output nothing may cut.
ENDS = {
    'votenet': HEAD,
    'pointnet2_ssg': SEGMENTS,
    'pointnet2_ssg_s3dis': SEGMENTS,
    'pointnet2_msg': SEGMENTS,
    'pointnet2_msg_s3dis': SEGMENTS,
    # Points are sampled by the distance of their features.
    '3dssd': rf'{HEAD}|backbone\.aggregation_mlps\.[01]\.conv',
    'groupfree3d': (
        rf'{HEAD}|{STREAM}|bbox_head\.points_obj_cls\.mlp\.layer2\.conv'
        r'|bbox_head\.prediction_heads\.\d\.conv_(cls|reg)'
    ),
    'h3dnet': (
        rf'rpn_{HEAD[5:]}'
        r'|roi_head\.primitive_\w+\.(conv_pred\.conv_out|flag_pred)'
        r'|roi_head\.bbox_head\.(bbox_pred\.3|(semantic_)?matching_pred)'
    ),
    'point_rcnn': (
        r'rpn_head\.(cls|reg)_layers\.6|roi_head\.bbox_head\.conv_(cls|reg)'
    ),
    'imvotenet_image': IMAGE,
    'imvotenet': (
        rf'{IMAGE}|{VOTES}|img_mlp\.mlp\.layer1\.conv'
        r'|pts_bbox_head_\w+\.conv_pred\.conv_(cls|reg)'
    ),
    'paconv': PACONV,
    'paconv_cuda': PACONV,
    # Neighbours are found by features.
    'dgcnn': rf'{SEGMENTS}|backbone\.GF_modules\.[01]\.mlps\.0\.layer1\.conv',
}


@dataclass
class Traced:
    name: str
    model: nn.Module
    batch: dict
    graph: ChannelGraph


def without_dropout(model):
    """The same model; what is dropped depends on the number of channels."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return model


@pytest.fixture(
    scope='module',
    params=[
        pytest.param(d, marks=[] if d in QUICK else pytest.mark.slow)
        for d in DETECTORS
    ],
)
def traced(request):
    torch.manual_seed(0)
    model, batch = build_small(request.param)
    graph = trace_detector(model, batch)
    settle_norms(model, run_paths(model, batch).cost, torch.Generator())
    return Traced(request.param, without_dropout(model), batch, graph)


@pytest.fixture
def pair(traced):
    """The masked and the narrow model, and what was kept."""
    keep = random_masks(traced.graph, seed=1)
    masked = copy.deepcopy(traced.model)
    mask_channels(masked, traced.graph, keep)
    return masked, slim(traced.model, traced.graph, keep), keep


def weighted(model):
    kinds = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    return {n for n, m in model.named_modules() if isinstance(m, kinds)}


def test_every_convolution_and_linear_layer_may_be_cut(traced):
    found = {m for g in traced.graph.free.values() for m in g.modules}
    pinned = weighted(traced.model) - found
    assert traced.graph.unknown_ops == ()
    assert pinned
    ends = re.compile(ENDS[traced.name])
    assert {n for n in pinned if not ends.fullmatch(n)} == set()


def test_narrow_equals_masked(traced, pair):
    masked, narrow, _ = pair
    paths = run_paths(copy.deepcopy(masked), traced.batch)
    for path in (paths.cost, *paths.also):
        outputs = compare(masked, narrow, path)
        assert outputs.aligned, path.mode
        assert outputs.max_rel < 1e-4, path.mode
        assert outputs.at_decisions < 1e-3, path.mode
        assert outputs.decisions > 0, path.mode


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
    assert graph.flops() == dense // 2  # one cloud, multiply-adds
    assert graph.flops(graph.counts(keep)) == slim_ // 2
    assert graph.params(graph.counts(keep)) == sum(
        p.numel() for p in narrow.parameters()
    )


def of(name):
    """A test of one model."""
    marks = [] if name in QUICK else pytest.mark.slow
    return pytest.mark.parametrize(
        'traced', [pytest.param(name, marks=marks)], indirect=True
    )


def groups_with(graph, tensor, role):
    """The groups that have a slice of that tensor and role, and slices."""
    return [
        (group, piece.index.flatten().tolist())
        for group in graph.groups.values()
        for piece in group.with_role(role)
        if piece.tensor == tensor
    ]


@of('votenet')
def test_three_columns_of_coordinates_come_before_the_features(traced):
    weight = 'backbone.SA_modules.1.mlps.0.layer0.conv.weight'
    found = groups_with(traced.graph, weight, Role.COLUMN)
    free = {tuple(index): group for group, index in found}
    assert sorted(free) == [(0, 1, 2), tuple(range(3, 19))]
    assert 'fixed size' in free[0, 1, 2].pinned
    features = free[tuple(range(3, 19))]
    assert features.pinned is None
    assert 'backbone.SA_modules.0.mlps.0.layer2.conv' in features.modules


@of('votenet')
def test_votes_move_three_coordinates_and_all_features(traced):
    weight = 'bbox_head.vote_module.conv_out.weight'
    found = groups_with(traced.graph, weight, Role.ROW)
    reasons = {tuple(index): group.pinned for group, index in found}
    assert sorted(reasons) == [(0, 1, 2), tuple(range(3, 35))]
    assert 'fixed size' in reasons[0, 1, 2]
    assert reasons[tuple(range(3, 35))] is None  # divided by their norm


@of('pointnet2_ssg')
def test_propagated_features_come_before_those_of_the_level(traced):
    weight = 'decode_head.FP_modules.0.mlps.layer0.conv.weight'
    found = groups_with(traced.graph, weight, Role.COLUMN)
    modules = {tuple(index): group.modules for group, index in found}
    above, level = tuple(range(32)), tuple(range(32, 64))
    assert sorted(modules) == [above, level]
    for columns, number in ((above, 3), (level, 2)):
        name = f'backbone.SA_modules.{number}.mlps.0.layer2.conv'
        assert name in modules[columns]


@of('3dssd')
def test_features_that_points_are_sampled_by_are_pinned(traced):
    weight = 'backbone.aggregation_mlps.0.conv.weight'
    ((group, _),) = groups_with(traced.graph, weight, Role.ROW)
    assert 'points_sampler.samplers.0 contracts over channels' in group.pinned


@of('dgcnn')
def test_features_that_neighbours_are_found_by_are_pinned(traced):
    weight = 'backbone.GF_modules.0.mlps.0.layer1.conv.weight'
    ((group, _),) = groups_with(traced.graph, weight, Role.ROW)
    assert 'KNN in backbone.GF_modules.1' in group.pinned


@of('paconv')
def test_a_channel_is_one_column_of_each_kernel(traced, pair):
    name = 'backbone.SA_modules.1.mlps.0.layer0'
    found = [
        piece.index.tolist()
        for group in traced.graph.free.values()
        for piece in group.slices
        if piece.tensor == f'{name}.weight_bank' and piece.dim == 1
    ]
    assert found == [[[c + 16 * k for k in range(4)] for c in range(16)]]
    bank = pair[1].get_submodule(name)
    sizes = bank.in_channels, 4 * bank.out_channels
    assert tuple(bank.weight_bank.shape) == sizes
