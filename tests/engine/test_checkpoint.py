"""The channel graph in a checkpoint."""

import io
from dataclasses import replace

import pytest
import torch

from chex_mm.engine.hooks.checkpoint import check_shapes
from chex_mm.graph.cost import Extent
from chex_mm.graph.state import graph_from_state, graph_state
from chex_mm.packages.paths import trace_detector, training_batch
from chex_mm.surgery import slim

from .toy_runs import ToyNet, loader


@pytest.fixture
def traced():
    torch.manual_seed(0)
    model = ToyNet().eval()
    return model, trace_detector(
        model, training_batch(loader('DefaultSampler'))
    )


def saved(graph):
    """The state of `graph` after a round trip through a file."""
    file = io.BytesIO()
    torch.save(graph_state(graph), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_the_graph_survives(traced):
    _, graph = traced
    again = graph_from_state(saved(graph))
    assert str(again) == str(graph)
    counts = {name: group.size // 2 for name, group in graph.free.items()}
    assert again.flops(counts) == graph.flops(counts)
    assert again.params(counts) == graph.params(counts)


def test_attributes_that_count_channels_survive(traced):
    _, graph = traced
    group = next(iter(graph.free))
    sizes = {('roi_head.extractor', 'out_channels'): Extent(3, {group: 1})}
    again = graph_from_state(saved(replace(graph, sizes=sizes)))
    assert again.sizes == sizes


def test_layers_in_doubt_survive(traced):
    _, graph = traced
    state = saved(replace(graph, doubtful=('head.bias',)))
    assert graph_from_state(state).doubtful == ('head.bias',)
    del state['doubtful']  # as of checkpoints from before there was doubt
    assert graph_from_state(state).doubtful == ()


def test_a_model_can_be_cut_without_tracing_again(traced):
    model, graph = traced
    keep = {
        name: torch.arange(group.size) % 3 > 0
        for name, group in graph.free.items()
    }
    narrow = slim(model, graph_from_state(saved(graph)), keep)
    again = slim(model, graph, keep)
    for one, other in zip(narrow.parameters(), again.parameters()):
        assert torch.equal(one, other)
    assert narrow.neck[0].weight.shape == (10, 10, 3, 3)


def test_the_same_model_is_accepted(traced):
    model, graph = traced
    state = dict(graph=saved(graph))
    assert check_shapes(state, model) is None


def test_differences_are_listed(traced):
    model, graph = traced
    state = dict(graph=saved(graph))
    model.head = torch.nn.Linear(16, 5)
    model.extra = torch.nn.Conv2d(3, 3, 1)
    with pytest.raises(ValueError) as error:
        check_shapes(state, model)
    assert str(error.value) == (
        'The checkpoint was taken from another model: head.weight is (3, 16) '
        'in the checkpoint and (5, 16) in the model; head.bias is (3,) in '
        'the checkpoint and (5,) in the model; extra.weight is missing in '
        'the checkpoint and (3, 3, 1, 1) in the model; extra.bias is missing '
        'in the checkpoint and (3,) in the model. Resume with the config '
        'that wrote it (checkpoint["meta"]["cfg"]), or start anew from its '
        'weights with load_from=... and resume=False.'
    )
