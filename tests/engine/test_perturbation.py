"""An oracle for labels: a channel is changed, and the model says where it is.

Nothing here knows a rule. What computes the channel is drawn anew, what reads
it is blind to it; then exactly those outputs of layers may move of which the
graph says that they are the channel, and each reader, seeing again, moves.
"""

import copy
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from torch import nn
from torch.utils._pytree import tree_leaves

from chex_mm import ChannelGraph
from chex_mm.adopt.analysis import draw_vectors, settle_norms
from chex_mm.cli.command_line import load_config
from chex_mm.deploy.slimming import build_model
from chex_mm.dispatch.randomness import fixed_random_state
from chex_mm.graph.groups import Role
from chex_mm.packages.paths import generated_batch, run_paths, trace_detector

from .small_detectors import DETECTORS, SIDE, build_small

# What mmdet calls on this torch, and its own configs on this mmcv.
pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in (
        'torch.meshgrid',
        '`torch.cuda.amp',
        'To copy construct',
        ':DeprecationWarning',
    )
]

LAYERS = nn.Conv2d, nn.ConvTranspose2d, nn.Linear
# Of mmdet, as they are, beside the small ones.
WHOLE = (
    'centernet/centernet_r18_8xb16-crop512-140e_coco.py',
    'detr/detr_r18_8xb2-500e_coco.py',
    'pvt/retinanet_pvtv2-b0_fpn_1x_coco.py',
    'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py',
    'yolox/yolox_nano_8xb8-300e_coco.py',
)
QUICK = 'retinanet'
CHANNELS = 6  # tried per model, each of another group
# A norm over channels: whatever is not zero in one of them moves the others.
NORM = 'l2_norm.weight'


@dataclass
class Traced:
    model: nn.Module
    graph: ChannelGraph
    run: Any


def whole(name):
    config = load_config(f'mmdet::{name}')
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = revert_sync_batchnorm(build_model(config))
    draw_vectors(model)
    return model


@pytest.fixture(
    scope='module',
    params=[
        pytest.param(name, marks=[] if name == QUICK else pytest.mark.slow)
        for name in (*DETECTORS, *WHOLE)
    ],
)
def traced(request):
    torch.manual_seed(0)
    name = request.param
    model = build_small(name) if name in DETECTORS else whole(name)
    batch = generated_batch(model, (3, SIDE, SIDE))
    graph = trace_detector(model, batch)
    cost = run_paths(model, batch).cost
    settle_norms(model, cost, torch.Generator().manual_seed(0))
    return Traced(model.eval(), graph, cost)


def outputs(model, run):
    """The outputs of every layer, and of the model under ''."""
    found = {}

    def note(name):
        return lambda module, args, out: found.setdefault(name, []).append(
            out.clone()
        )

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in model.named_modules()
        if isinstance(module, LAYERS)
    ]
    with fixed_random_state(), torch.no_grad():
        found[''] = [torch.as_tensor(leaf) for leaf in tree_leaves(run(model))]
    for hook in hooks:
        hook.remove()
    return found


def moved(before, after, model):
    """Layer to the positions of its output channels that are not as before."""
    found = {}
    for name, outs in before.items():
        is_map = isinstance(model.get_submodule(name), LAYERS[:2])
        for a, b in zip(outs, after[name], strict=True):
            apart = (a - b).abs() > 1e-6 * float(
                a.abs().max() if len(a) else 0
            )
            if name:
                apart = (
                    apart.movedim(-3 if is_map else -1, 0).flatten(1).any(1)
                )
                there = set(apart.nonzero().flatten().tolist())
            else:
                there = set(range(int(apart.any())))
            if there:
                found.setdefault(name, set()).update(there)
    return found


@torch.no_grad()
def draw(tensors, pieces, channel):
    """New values where the pieces hold a channel."""
    generator = torch.Generator().manual_seed(1)
    for piece in pieces:
        tensor = tensors[piece.tensor]
        at = piece.index[channel]
        part = tensor.index_select(piece.dim, at)
        scale = float(tensor.std())
        part.add_(
            torch.empty(part.shape).normal_(0, scale, generator=generator)
        )
        tensor.index_copy_(piece.dim, at, part)


@torch.no_grad()
def blind(tensors, pieces, channel):
    for piece in pieces:
        at = piece.index[channel]
        tensors[piece.tensor].index_fill_(piece.dim, at, 0)


def changed(traced, group, channel, seeing=()):
    """What moves with a channel where all but `seeing` are blind to it."""
    model = copy.deepcopy(traced.model)
    tensors = dict(model.named_parameters())
    columns = group.with_role(Role.COLUMN)
    blind(tensors, [c for c in columns if c not in seeing], channel)
    before = outputs(model, traced.run)
    draw(tensors, group.producers, channel)
    for piece in group.with_role(Role.BIAS, Role.SHIFT):  # an open ReLU
        with torch.no_grad():
            tensors[piece.tensor][piece.index[channel]] += 3
    return moved(before, outputs(model, traced.run), model), before


def some_channels(graph):
    """Channels of groups that lie as far apart as they can."""
    generator = torch.Generator().manual_seed(0)
    groups = [
        group
        for group in graph.free.values()
        if not any(piece.tensor.endswith(NORM) for piece in group.slices)
    ]
    for group in groups[:: -(-len(groups) // CHANNELS)]:
        yield group, int(torch.randint(group.size, (), generator=generator))


def owner(piece):
    return piece.tensor.rpartition('.')[0]


def test_a_channel_is_where_its_labels_are(traced):
    for group, channel in some_channels(traced.graph):
        found, layers = changed(traced, group, channel)
        expected = {
            owner(piece): set(piece.index[channel].tolist())
            for piece in group.with_role(Role.ROW, Role.FILTER)
            if owner(piece) in layers
        }
        assert found == expected, group


def test_a_reader_is_where_its_labels_are(traced):
    for group, channel in some_channels(traced.graph):
        columns = group.with_role(Role.COLUMN)
        for piece in columns[:: max(1, len(columns) - 1)]:  # first and last
            found, layers = changed(traced, group, channel, seeing=[piece])
            if owner(piece) in layers:
                assert owner(piece) in found, (group, piece)


@pytest.mark.parametrize('traced', [QUICK], indirect=True)
def test_a_wrong_label_would_be_seen(traced):
    group, channel = next(some_channels(traced.graph))
    row, *others = group.with_role(Role.ROW)
    wrong = replace(row, index=row.index.roll(1, 0))
    rest = [s for s in group.slices if s is not row]
    found, _ = changed(traced, replace(group, slices=(wrong, *rest)), channel)
    expected = {owner(piece) for piece in (row, *others)}
    assert set(found) > expected  # those that read the neighbour
