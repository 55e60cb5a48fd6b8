"""Weights stored as length and direction are cut, and never 0 / 0."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import chex_mm
from chex_mm.graph.groups import Role
from chex_mm.submodel.sub_model import SubModel
from chex_mm.surgery import describe, narrow_
from chex_mm.trace.cuts import random_masks

G, V = (f'parametrizations.weight.original{n}' for n in range(2))


def chain(first, second, x):
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU()), x


NETWORKS = {
    'rows and columns': lambda: chain(
        weight_norm(nn.Conv1d(3, 16, 3)),
        weight_norm(nn.Conv1d(16, 12, 3)),
        torch.randn(2, 3, 20),
    ),
    'a norm behind': lambda: chain(
        nn.Sequential(weight_norm(nn.Conv2d(3, 16, 3)), nn.BatchNorm2d(16)),
        weight_norm(nn.Conv2d(16, 12, 3)),
        torch.randn(2, 3, 9, 9),
    ),
    'linear': lambda: chain(
        weight_norm(nn.Linear(3, 16)),
        weight_norm(nn.Linear(16, 12)),
        torch.randn(4, 3),
    ),
    'what is read has the length': lambda: chain(
        nn.Linear(3, 16),
        weight_norm(nn.Linear(16, 12), dim=1),
        torch.randn(4, 3),
    ),
    'depthwise': lambda: chain(
        nn.Sequential(
            nn.Conv2d(3, 16, 3), weight_norm(nn.Conv2d(16, 16, 3, groups=16))
        ),
        weight_norm(nn.Conv2d(16, 12, 1)),
        torch.randn(2, 3, 9, 9),
    ),
    'depthwise, down to one channel': lambda: chain(
        nn.Sequential(
            nn.Conv2d(3, 2, 3), weight_norm(nn.Conv2d(2, 2, 3, groups=2))
        ),
        weight_norm(nn.Conv2d(2, 26, 1)),
        torch.randn(2, 3, 9, 9),
    ),
    'groups': lambda: chain(
        nn.Conv2d(3, 16, 3),
        weight_norm(nn.Conv2d(16, 12, 3, groups=4)),
        torch.randn(2, 3, 9, 9),
    ),
    'transposed': lambda: chain(
        nn.Conv2d(3, 16, 3),
        weight_norm(nn.ConvTranspose2d(16, 12, 3)),
        torch.randn(2, 3, 9, 9),
    ),
}


def network(name):
    """The network, with a layer behind it, and what it takes."""
    torch.manual_seed(0)
    layers, x = NETWORKS[name]()
    ends = [nn.Flatten()] if x.ndim > 2 else []
    model = nn.Sequential(layers, *ends, nn.LazyLinear(2))
    model(x)
    return model.eval(), x


@pytest.mark.parametrize('name', NETWORKS)
def test_masked_and_narrow_are_equal_and_finite(name):
    model, x = network(name)
    graph = chex_mm.trace_channels(model, (x,), strict=True)
    # The same position of every convolution group is one channel.
    free = 16 // 4 + 12 // 4 if name == 'groups' else 16 + 12
    assert sum(group.size for group in graph.free.values()) == free
    keep = random_masks(graph)
    masked = copy.deepcopy(model)
    chex_mm.mask_channels(masked, graph, keep)
    narrow = chex_mm.slim(model, graph, keep)
    assert masked(x).isfinite().all()
    torch.testing.assert_close(narrow(x), masked(x), rtol=1e-5, atol=1e-6)
    for each in (masked, narrow):
        each.train()(x).square().sum().backward()
        assert all(p.grad.isfinite().all() for p in each.parameters())
    sizes = sum(p.numel() for p in narrow.parameters())
    assert sizes == graph.params(graph.counts(keep))


def test_narrow_layers_are_those_built_by_hand():
    model, x = network('rows and columns')
    graph = chex_mm.trace_channels(model, (x,), strict=True)
    first, second = model[0][0], model[0][2]
    keep = {
        name: torch.arange(group.size) % 3 > 0
        for name, group in graph.free.items()
    }
    assert [len(mask) for mask in keep.values()] == [16, 12]
    into, out = keep.values()
    narrow = chex_mm.slim(model, graph, keep)[0]
    by_hand = [
        weight_norm(nn.Conv1d(3, int(into.sum()), 3)),
        weight_norm(nn.Conv1d(int(into.sum()), int(out.sum()), 3)),
    ]
    for made, layer, rows, columns in zip(
        by_hand, (first, second), (into, out), (slice(None), into)
    ):
        # The norm of a row is that of what is left of it.
        v = layer.get_parameter(V)[rows][:, columns]
        made.load_state_dict(
            {'bias': layer.bias[rows], G: layer.get_parameter(G)[rows], V: v}
        )
    hidden = by_hand[0](x).relu()
    torch.testing.assert_close(narrow[0](x).relu(), hidden)
    torch.testing.assert_close(narrow[2](hidden), by_hand[1](hidden))
    assert narrow[2].out_channels == int(out.sum())


def test_a_dense_model_is_made_narrow_from_the_spec():
    model, x = network('depthwise')
    graph = chex_mm.trace_channels(model, (x,), strict=True)
    narrow = chex_mm.slim(model, graph, random_masks(graph))
    other = narrow_(network('depthwise')[0], describe(model, narrow))
    other.load_state_dict(narrow.state_dict())
    assert torch.equal(other.eval()(x), narrow(x))
    assert other[0][0][1].groups == narrow[0][0][1].groups < 16


def test_out_of_use_a_direction_is_ones_and_its_moments_zero():
    model, x = network('rows and columns')
    graph = chex_mm.trace_channels(model, (x,), strict=True)
    keep = {
        name: torch.arange(group.size) % 2 == 0
        for name, group in graph.free.items()
    }
    (name,) = (
        piece.tensor
        for piece in list(graph.free.values())[1].with_role(Role.DIRECTION)
    )
    dense = model.get_parameter(name).detach().clone()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    sub_model = SubModel(model, graph, graph.free, 'masked')
    train(model, x, optimizer, sub_model)
    before = model.get_parameter(name).detach().clone()
    assert not torch.equal(before, dense)
    sub_model.move(keep, optimizer)
    train(model, x, optimizer, sub_model)
    weight = model.get_parameter(name).detach()
    assert (weight[1::2, ::2] == 1).all()
    assert not weight[:, 1::2].any()
    for moment in ('exp_avg', 'exp_avg_sq'):
        moments = optimizer.state[model.get_parameter(name)][moment]
        assert not moments[1::2].any() and not moments[:, 1::2].any()
        assert moments[::2, ::2].any()
    sub_model.move({n: torch.ones_like(mask) for n, mask in keep.items()})
    back = model.get_parameter(name).detach()
    assert torch.equal(back[1::2], before[1::2])
    assert torch.equal(back[::2, 1::2], before[::2, 1::2])


def train(model, x, optimizer, sub_model):
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
        sub_model.enforce()
