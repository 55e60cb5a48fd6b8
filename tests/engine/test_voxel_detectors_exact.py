"""Voxel and camera detectors of mmdet3d: found whole, counted, cut exactly."""

import copy
import re
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip('mmdet3d.models', reason='needs mmdet3d')
spconv = pytest.importorskip('spconv.pytorch', reason='needs spconv')

from mmcv.ops import three_nn  # noqa: E402
from mmdet.models.losses.focal_loss import (  # noqa: E402
    py_sigmoid_focal_loss,
)
from mmdet3d.models.middle_encoders import sparse_encoder  # noqa: E402
from spconv.pytorch.conv import SparseConvolution  # noqa: E402

from chex_mm import ChannelGraph, mask_channels, slim  # noqa: E402
from chex_mm.adopt.analysis import settle_norms  # noqa: E402
from chex_mm.graph.groups import Role  # noqa: E402
from chex_mm.packages.paths import run_paths, trace_detector  # noqa: E402
from chex_mm.surgery import compare  # noqa: E402
from chex_mm.trace.cuts import random_masks  # noqa: E402

from .voxel_detectors import DETECTORS, build_small  # noqa: E402

# What mmdet3d and spconv call on this torch.
pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in (
        'Using a non-tuple sequence',
        'To copy construct from a tensor',
        'dir_offset and dir_limit_offset',
        'DeprecationWarning',
        'torch.meshgrid',
        '`torch.cuda.amp',
    )
]

QUICK = 'pointpillars', 'second'
HEAD = r'bbox_head\.conv_(cls|reg|dir_cls)'
RPN = r'rpn_head\.conv_(cls|reg|dir_cls)'
# Where a deformable convolution samples.
OFFSET = r'.*\.conv_offset'
MONO = r'bbox_head\.conv_(cls|dir_cls|attr|centerness|regs\.\d)'
# Convolutions and linear layers whose output nothing may cut.
ENDS = {
    'pointpillars': HEAD,
    'second': HEAD,
    'centerpoint_pillar': r'pts_bbox_head\.task_heads\.\d\.\w+\.1',
    'centerpoint_voxel': r'pts_bbox_head\.task_heads\.\d\.\w+\.1',
    'parta2': (
        rf'{RPN}|roi_head\.(bbox_head\.conv_(cls|reg)\.3\.conv'
        r'|semantic_head\.seg_(cls|reg)_layer)'
    ),
    'pv_rcnn': (
        rf'{RPN}|roi_head\.(bbox_head\.(cls|reg)_layer\.3'
        r'|semantic_head\.seg_cls_layer\.6)'
    ),
    'ssn': r'pts_bbox_head\.heads\.\d\.conv_(cls|reg|dir_cls)',
    'sassd': rf'{HEAD}|middle_encoder\.point_(cls|reg)',
    'mvxnet': rf'pts_{HEAD}',
    # Voxels that no camera sees are found by `volume == 0` of all channels.
    'imvoxelnet': (
        rf'{HEAD}|neck\.fpn_convs\.0\.conv|neck_3d\.model\.0\.conv1\.conv'
    ),
    'smoke': rf'{OFFSET}|{MONO}',
    'fcos3d': rf'{OFFSET}|{MONO}',
    'pgd': rf'{OFFSET}|{MONO}|bbox_head\.conv_(depth_cls|weights\.\d)',
}


@dataclass
class Traced:
    name: str
    model: nn.Module
    batch: dict
    graph: ChannelGraph


@pytest.fixture(scope='module')
def sassd_on_the_cpu():
    """Lets mmdet3d's SA-SSD compute its training loss here.

    It gives mmcv's `three_nn`, which takes coordinates, sites with a batch
    number in front (the CUDA kernel reads four columns as if they were
    three), and it calls mmcv's focal loss, which has no CPU kernel, directly.
    """

    def focal_loss(pred, target, **more):
        return py_sigmoid_focal_loss(pred, target[:, None], **more)

    def nearest(target, source):
        return three_nn(target[..., 1:], source[..., 1:])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse_encoder, 'three_nn', nearest)
        patch.setattr(sparse_encoder, 'sigmoid_focal_loss', focal_loss)
        yield


@pytest.fixture(
    scope='module',
    params=[
        pytest.param(d, marks=[] if d in QUICK else pytest.mark.slow)
        for d in DETECTORS
    ],
)
def traced(request, sassd_on_the_cpu):
    torch.manual_seed(0)
    model, batch = build_small(request.param)
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
    kinds = (
        nn.modules.conv._ConvNd,
        nn.Linear,
        SparseConvolution,
    )
    return {n for n, m in model.named_modules() if isinstance(m, kinds)}


def test_every_layer_with_weights_may_be_cut(traced):
    found = {
        piece.tensor.rpartition('.')[0]
        for group in traced.graph.free.values()
        for piece in (*group.producers, *group.with_role(Role.FILTER))
    }
    layers = weighted(traced.model)
    ends = {n for n in layers if re.fullmatch(ENDS[traced.name], n)}
    assert traced.graph.unknown_ops == ()
    assert layers - found == ends


def test_narrow_equals_masked(traced, pair):
    masked, narrow, _ = pair
    paths = run_paths(copy.deepcopy(masked), traced.batch)
    for path in (paths.cost, *paths.also):
        if path.mode == 'loss':
            continue
        found = compare(masked, narrow, path)
        assert found.aligned
        assert found.max_rel < 1e-4
        assert found.at_decisions < 1e-3


def test_flops_are_those_of_an_independent_counter(traced, pair):
    """Sparse convolutions are matrix products to it, deformable ones none.

    How many sites a region of Part-A2 has depends on where it is.
    """
    masked, narrow, keep = pair
    graph, counted = traced.graph, []
    cost = run_paths(copy.deepcopy(masked), traced.batch).cost

    def run(model):
        with FlopCounterMode(display=False) as counter:
            out = cost(model)
        regions = sum(
            sum(flops.values())
            for name, flops in counter.get_flop_counts().items()
            if re.fullmatch(r'PartA2\.roi_head\.\w+', name)
        )
        counted.append(counter.get_total_flops() - regions)
        return out

    def expected(counts):
        return sum(
            work.flops(counts)
            for work in graph.work
            if 'DeformConv' not in work.op
            and not (traced.name == 'parta2' and 'roi_head' in work.module)
        )

    compare(masked, narrow, run)
    dense, slim_ = counted
    assert expected(graph.counts()) == dense // 2  # multiply-adds
    assert expected(graph.counts(keep)) == slim_ // 2
    assert graph.params(graph.counts(keep)) == sum(
        p.numel() for p in narrow.parameters()
    )
