"""The oracle: what the graph says is what happens in real networks."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import chex_mm
from chex_mm.graph.groups import Role

from .random_networks.recipes import networks
from .random_networks.verdicts import counted
from .trace import (  # noqa: F401  (fill the table)
    toy_code,
    toy_operators,
    toy_sharing,
)
from .trace.toy_networks import TOYS


def some_masks(graph, seed):
    """Any number of channels of every free group, but at least one."""
    generator = torch.Generator().manual_seed(seed)
    keep = {}
    for name, group in graph.free.items():
        keep[name] = torch.rand(group.size, generator=generator) < 0.6
        keep[name][int(torch.randint(group.size, (), generator=generator))] = (
            True
        )
    return keep


def outputs(model, inputs):
    """All output tensors, flat."""
    with torch.no_grad():
        found = model(inputs)
    return torch.utils._pytree.tree_leaves(found)


def check_cut(model, inputs, seed):
    """Masked and narrow agree, and cost what the graph says."""
    graph = chex_mm.trace_channels(model, (inputs,))
    keep = some_masks(graph, seed)
    masked = copy.deepcopy(model)
    chex_mm.mask_channels(masked, graph, keep)
    narrow = chex_mm.slim(model, graph, keep)
    for a, b in zip(outputs(masked, inputs), outputs(narrow, inputs)):
        assert a.shape == b.shape
        scale = max(float(a.abs().max()), 1)
        assert float((a - b).abs().max()) / scale < 1e-5
    counts = graph.counts(keep)
    assert graph.flops(counts) == counted(narrow, inputs)
    assert graph.flops() == counted(model, inputs)
    assert graph.params(counts) == sum(p.numel() for p in narrow.parameters())
    return graph


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('name', TOYS)
def test_toy_networks(name, seed):
    model, inputs = TOYS[name].build()
    graph = check_cut(model, inputs, seed)
    assert bool(graph.free) == bool(TOYS[name].groups)


@settings(max_examples=40)
@given(model=networks(), seed=st.integers(0, 99))
def test_random_networks(model, seed):
    graph = check_cut(model, torch.randn(2, 3, 8, 8), seed)
    assert graph.free and graph.unknown_ops == ()


def disturbed(model, inputs, group, channel, blind):
    """How far the outputs move if what computes a channel changes.

    Args:
        blind: Tensors whose columns do not read the channel.
    """
    model = copy.deepcopy(model)
    tensors = dict(model.named_parameters())
    with torch.no_grad():
        for piece in group.with_role(Role.COLUMN):
            if piece.tensor in blind:
                at = piece.index[channel]
                tensors[piece.tensor].index_fill_(piece.dim, at, 0)
        before = outputs(model, inputs)
        for piece in group.producers:
            at = piece.index[channel]
            tensors[piece.tensor].index_fill_(piece.dim, at, 2)
    after = outputs(model, inputs)
    return max(float((a - b).abs().max()) for a, b in zip(before, after))


@pytest.mark.parametrize(
    'name',
    ['Residual', 'CrossStage', 'Dense', 'Gate', 'SharedHead', 'Grouped'],
)
def test_a_channel_is_read_exactly_where_the_graph_says(name):
    model, inputs = TOYS[name].build()
    graph = chex_mm.trace_channels(model, (inputs,))
    for group in graph.free.values():
        readers = {s.tensor for s in group.with_role(Role.COLUMN)}
        for channel in range(group.size):
            args = model, inputs, group, channel
            assert disturbed(*args, blind=readers) < 1e-6
            for reader in readers:
                assert disturbed(*args, blind=readers - {reader}) > 1e-4
