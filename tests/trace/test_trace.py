"""Tracing leaves everything as it was, in whatever state it finds it."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

import chex_mm

from .toy_networks import conv


class Net(nn.Module):
    """Draws random numbers of every kind and updates its statistics."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = conv(3, 4), nn.BatchNorm2d(4), conv(4, 2)
        self.register_buffer('calls', torch.zeros(()))
        self.history = []

    def forward(self, x):
        self.calls += 1
        self.history.append(random.random() + np.random.rand())
        noise = torch.rand(())
        return self.b(self.norm(self.a(x)) * noise)


def random_states():
    return (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize('train', [True, False])
def test_nothing_changes(train):
    model = Net().train(train)
    model.a.eval()
    model.b.weight.requires_grad_(False)
    model.a.weight.grad = torch.ones_like(model.a.weight)
    before, states = copy.deepcopy(model), random_states()
    tensors = {n: id(t) for n, t in model.named_parameters()}
    inputs = torch.randn(2, 3, 4, 4)
    states = random_states()
    graph = chex_mm.trace_channels(model, (inputs,))
    assert list(graph.free) == ['a']
    assert random_states() == states
    assert {n: id(t) for n, t in model.named_parameters()} == tensors
    for (name, one), other in zip(
        model.state_dict().items(), before.state_dict().values()
    ):
        assert torch.equal(one, other), name
    assert [m.training for m in model.modules()] == [
        m.training for m in before.modules()
    ]
    assert [p.requires_grad for p in model.parameters()] == [
        p.requires_grad for p in before.parameters()
    ]
    assert torch.equal(model.a.weight.grad, torch.ones_like(model.a.weight))
    assert not any(
        m._forward_hooks or m._forward_pre_hooks for m in model.modules()
    )
    assert model.history == []
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    'context', [torch.no_grad, torch.enable_grad, torch.inference_mode]
)
def test_under_any_grad_mode(context):
    model, inputs = Net(), torch.randn(2, 3, 4, 4)
    with context():
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        graph = chex_mm.trace_channels(model, (inputs,), strict=True)
        assert modes == (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
        )
    assert list(graph.free) == ['a']


class Inference(nn.Module):
    """In inference mode torch does not take composite operators apart."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), nn.Linear(16, 2)

    @torch.inference_mode()
    def forward(self, x):
        x = nn.functional.adaptive_avg_pool2d(self.a(x), 2)
        return self.b(x.reshape(len(x), -1))


def test_inference_mode_inside():
    graph = chex_mm.trace_channels(
        Inference(), (torch.randn(2, 3, 4, 4),), strict=True
    )
    assert [(g.name, g.size) for g in graph.free.values()] == [('a', 4)]


@pytest.mark.parametrize(
    'given',
    [
        torch.ones(2, 3, 4, 4),
        [torch.ones(2, 3, 4, 4)],
        lambda model: model(torch.ones(2, 3, 4, 4)),
    ],
    ids=['tensor', 'list', 'callable'],
)
def test_inputs(given):
    assert list(chex_mm.trace_channels(Net(), given).free) == ['a']


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_on_a_gpu():
    model = Net().cuda()
    inputs = torch.randn(2, 3, 4, 4, device='cuda')
    states = torch.cuda.get_rng_state().tolist()
    graph = chex_mm.trace_channels(model, (inputs,), strict=True)
    assert list(graph.free) == ['a']
    assert torch.cuda.get_rng_state().tolist() == states
    assert all(p.is_cuda for p in model.parameters())


def test_a_model_that_fails_is_named():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(conv(3, 4))

        def forward(self, x):
            return self.inner(x[:, :2])

    with pytest.raises(chex_mm.ChexError) as error:
        chex_mm.trace_channels(Broken(), (torch.randn(1, 3, 4, 4),))
    assert str(error.value).startswith(
        'inner.0 failed while its channels were traced: RuntimeError: Given '
        'groups=1, weight of size [4, 3, 1, 1]'
    )
    assert isinstance(error.value.__cause__, RuntimeError)
