"""Masked and narrow models give the same outputs."""

import copy

import pytest
import torch
from torch import nn

from chex_mm.errors import ChexError
from chex_mm.surgery import UnknownModule, cut_channels, mask_channels, slim
from chex_mm.surgery.resize import all_tensors

from .hand_graphs import (
    CASES,
    batch_norm,
    build,
    graph_of,
    random_keep,
    shared,
)

HALF = {'one': torch.tensor([True, False] * 4)}


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.__name__)
def test_masked_equals_narrow(case, seed):
    model, x, graph = build(case)
    keep = random_keep(graph, seed)
    narrow = slim(model, graph, keep)
    mask_channels(model, graph, keep)
    torch.testing.assert_close(narrow(x), model(x), atol=1e-6, rtol=1e-5)
    counts = graph.counts(keep)
    shapes = {name: tuple(t.shape) for name, t in all_tensors(narrow).items()}
    assert {n: shapes[n] for n in graph.shapes} == {
        n: graph.shape(n, counts) for n in graph.shapes
    }


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.__name__)
def test_in_place_equals_copy(case):
    model, x, graph = build(case)
    keep = random_keep(graph, 0)
    dense = copy.deepcopy(model)
    narrow = slim(model, graph, keep)
    assert all(map(torch.equal, model.parameters(), dense.parameters()))
    before = [*model.parameters(), *model.buffers()]
    cut_channels(model, graph, keep)
    after = [*model.parameters(), *model.buffers()]
    assert all(a is b for a, b in zip(before, after))
    assert torch.equal(model(x), narrow(x))
    assert [repr(m) for m in model.modules()] == [
        repr(m) for m in narrow.modules()
    ]


def test_mask_zeroes_every_slice():
    model, _, graph = build(batch_norm)
    mask_channels(model, graph, HALF)
    for each in graph.groups['one'].slices:
        tensor = (
            model.get_parameter(each.tensor)
            if (each.tensor in graph.parameters)
            else model.get_buffer(each.tensor)
        )
        channels = tensor.movedim(each.dim, 0)
        assert not channels[~HALF['one']].any()
        assert channels[HALF['one']].all()


def test_groups_left_out_keep_everything():
    model, x, graph = build(shared)
    narrow = slim(model, graph, {'tower': torch.arange(6) < 2})
    assert narrow.one.out_channels == 8
    assert narrow.tower.weight.shape == (2, 8, 3, 3)


def test_shared_parameter_is_cut_once():
    model, _, graph = build(shared)
    narrow = slim(model, graph, HALF)
    assert narrow.twin.weight is narrow.tower.weight
    assert narrow.again is narrow.tower
    assert narrow.twin.weight.shape == (6, 4, 3, 3)
    assert narrow.twin.in_channels == narrow.tower.in_channels == 4


def test_optimizer_goes_on_after_a_cut():
    model, x, graph = build(batch_norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = model(x).square().sum()
    loss.backward()
    grad = model.one.weight.grad.clone()
    cut_channels(model, graph, HALF)
    assert torch.equal(model.one.weight.grad, grad[::2])
    owned = {p for g in optimizer.param_groups for p in g['params']}
    assert owned == set(model.parameters())
    optimizer.step()
    before = model.one.weight.detach().clone()
    optimizer.zero_grad()
    # `loss` still holds the graph of the wide model
    model(x).square().sum().backward()
    optimizer.step()
    assert model.one.weight.grad.shape == (4, 3, 3, 3)
    assert not torch.equal(before, model.one.weight)
    assert loss.grad_fn is not None


def test_frozen_and_float64_parameters():
    model, x, graph = build(batch_norm)
    model.double().one.weight.requires_grad_(False)
    narrow = slim(model, graph, HALF)
    cut_channels(model, graph, HALF)
    for each in (model, narrow):
        assert each.one.weight.dtype == torch.float64
        assert not each.one.weight.requires_grad
        assert each.one.bias.requires_grad
        assert each(x.double()).shape == (2, 4, 2, 2)


def test_a_narrow_model_does_not_fit_the_graph():
    model, _, graph = build(batch_norm)
    narrow = slim(model, graph, HALF)
    message = (
        r"'one.weight' has shape \(4, 3, 3, 3\) in the model and "
        r'\(8, 3, 3, 3\) in the channel graph'
    )
    for surgery in (mask_channels, cut_channels, slim):
        with pytest.raises(ValueError, match=message):
            surgery(narrow, graph, HALF)


def test_another_model_does_not_fit_the_graph():
    _, _, graph = build(batch_norm)
    with pytest.raises(ValueError, match="has 'one.weight', the model does"):
        slim(nn.Linear(2, 2), graph, HALF)


def test_masks_are_checked():
    model, _, graph = build(batch_norm)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match='keeps no channel'):
        cut_channels(model, graph, {'one': torch.zeros(8).bool()})
    with pytest.raises(ValueError, match="no channel group 'two'"):
        mask_channels(model, graph, {'two': torch.ones(8).bool()})
    pinned = graph_of(model, batch_norm()[2], pinned=['one'])
    with pytest.raises(ValueError, match='pinned by hand'):
        slim(model, pinned, HALF)
    after = model.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before)


class Scale(nn.Module):
    """A module of no known type."""

    def __init__(self, channels):
        super().__init__()
        self.n_dims = channels
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return x * self.weight.view(1, self.n_dims, 1, 1)


def test_unknown_module_is_refused_before_anything_is_cut():
    model, _, groups = batch_norm(Scale)
    size, parts = groups['one']
    parts = [p for p in parts if p[0] in all_tensors(model)]
    graph = graph_of(model, {'one': (size, parts)})
    with pytest.raises(UnknownModule) as error:
        cut_channels(model, graph, HALF)
    assert str(error.value) == (
        "norm is a Scale and owns 'weight', which is to be cut; its n_dims "
        '= 8 may have to follow, but nothing says how. Declare it:\n'
        '    from chex_mm.surgery import attributes\n\n'
        '    @attributes(Scale)\n'
        '    def sizes(module):  # return {} if none follows\n'
        "        return {'n_dims': module.weight.shape[0]}"
    )
    assert error.value.tensor == 'norm.weight'
    assert isinstance(error.value, ChexError)
    assert model.one.weight.shape == (8, 3, 3, 3)
    assert model.norm.weight.shape == (8,)
