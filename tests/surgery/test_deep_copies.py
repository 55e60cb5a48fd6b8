"""Copies run on their own parameters, whatever wraps a forward."""

import functools

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import chex_mm
from chex_mm.surgery.copying import deep_copy
from chex_mm.trace.cuts import random_masks

from ..trace.toy_networks import conv

X = torch.randn(2, 3, 4, 4)


def by_closure(module):
    """As mmengine's activation checkpointing wraps a forward."""
    inner = module.forward

    @functools.wraps(inner)
    def forward(*args):
        return inner(*args)

    module.forward = forward


def twice(module):
    by_closure(module)
    by_closure(module)


def by_name(module):
    """A function around the module, which calls the forward of its class."""
    module.forward = lambda x: type(module).forward(module, x)


def by_partial(module):
    module.forward = functools.partial(module.forward)


def by_hook(module):
    other = nn.BatchNorm2d(8)
    module.other = other
    module.register_forward_hook(lambda _module, _args, out: other(out))


def recursive(module):
    inner = module.forward

    def forward(x, again=True):
        return forward(x, again=False) if again else inner(x)

    module.forward = forward


WRAPPERS = [by_closure, twice, by_name, by_partial, by_hook, recursive]


def network():
    torch.manual_seed(0)
    return nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8), conv(8, 2)).eval()


@pytest.mark.parametrize('wrap', WRAPPERS, ids=lambda wrap: wrap.__name__)
def test_a_copy_runs_on_its_own_parameters(wrap):
    model = network()
    wrap(model[2])
    expected = model(X)
    copied = deep_copy(model)
    assert torch.equal(copied(X), expected)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert not copied(X).any()
    assert torch.equal(model(X), expected)


@pytest.mark.parametrize('wrap', WRAPPERS, ids=lambda wrap: wrap.__name__)
def test_what_is_wrapped_is_pruned_alike(wrap):
    model = network()
    wrap(model[2])
    graph = chex_mm.trace_channels(model, (X,))
    assert set(graph.free) == {'0', '2'}
    keep = random_masks(graph)
    narrow = chex_mm.slim(model, graph, keep)
    chex_mm.mask_channels(model, graph, keep)
    assert torch.allclose(narrow(X), model(X), atol=1e-6)


def test_a_function_around_nothing_of_the_model_stays():
    model, seen = network(), []

    def see(_module, _args):
        seen.append(1)

    model[0].register_forward_pre_hook(see)
    copied = deep_copy(model)
    assert list(copied[0]._forward_pre_hooks.values()) == [see]


class Checkpointed(nn.Module):
    def __init__(self, use_reentrant):
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(8, 8), conv(8, 2)
        self.use_reentrant = use_reentrant

    def forward(self, x):
        x = self.a(x).relu()
        x = checkpoint(self.b, x, use_reentrant=self.use_reentrant)
        return self.c(x.relu())


@pytest.mark.parametrize('use_reentrant', [True, False])
@pytest.mark.filterwarnings('ignore:None of the inputs have requires_grad')
def test_activations_that_are_computed_again_are_traced(use_reentrant):
    torch.manual_seed(0)
    model = Checkpointed(use_reentrant)
    graph = chex_mm.trace_channels(model, (X,))
    assert {n: g.size for n, g in graph.free.items()} == {'a': 8, 'b': 8}
    keep = random_masks(graph)
    narrow = chex_mm.slim(model, graph, keep)
    chex_mm.mask_channels(model, graph, keep)
    for each in (narrow, model):
        each(X).square().sum().backward()
    rows = narrow.a.weight.grad
    expected = model.a.weight.grad[keep['a']]
    assert rows.any() and torch.allclose(rows, expected, atol=1e-4)
