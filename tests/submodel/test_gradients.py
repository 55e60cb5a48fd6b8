"""Masked channels have no gradients, whatever a network would give them."""

import copy
import gc
import io

import torch
from torch import nn

from chex_mm import Budget, ChannelExplorer, trace_channels

IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Mean(nn.Module):
    """A mean over channels has the same gradient for every one of them."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 4, 1)

    def forward(self, x):
        x = self.a(x)
        return self.b(x), x.sum(1)


def loss(model):
    return sum(each.square().mean() for each in model(IMAGES))


def explored():
    model = Mean()
    graph = trace_channels(model, (IMAGES,))
    return model, ChannelExplorer(model, graph, Budget('flops', 0.5), 3)


def unused(explorer):
    """Gradients of what is out of use."""
    a = explorer.model.a
    gone = ~explorer.keep['a']
    assert gone.any()
    return torch.cat([a.weight.grad[gone].flatten(), a.bias.grad[gone]])


def test_the_network_would_give_them_gradients():
    model, explorer = explored()
    plain = copy.deepcopy(model)  # without hooks
    loss(plain).backward()
    assert plain.a.weight.grad[~explorer.keep['a']].all()


def test_gradients_are_zero_before_the_optimizer_sees_them():
    model, explorer = explored()
    for _ in range(3):
        explorer.step()
        for _ in range(2):  # as when gradients are accumulated
            loss(model).backward()
            assert not unused(explorer).any()
        assert model.a.weight.grad[explorer.keep['a']].all()


def test_a_gradient_that_is_not_finite_is_zeroed_too():
    model, explorer = explored()
    (loss(model) * float('inf')).backward()
    assert not unused(explorer).any()
    assert not model.a.weight.grad.isfinite().all()


def test_what_is_unfrozen_later_follows_with_the_next_step():
    model = Mean()
    model.a.weight.requires_grad_(False)
    graph = trace_channels(model, (IMAGES,))
    explorer = ChannelExplorer(model, graph, Budget('flops', 0.5), 3)
    model.a.weight.requires_grad_(True)
    explorer.step()
    loss(model).backward()
    assert not unused(explorer).any()


def test_without_its_explorer_a_model_trains_as_ever():
    model, explorer = explored()
    gone = ~explorer.keep['a']
    del explorer
    gc.collect()
    loss(model).backward()
    assert model.a.weight.grad[gone].all()


def test_an_explored_model_can_be_saved_whole():
    model, explorer = explored()
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    again = torch.load(stream, weights_only=False)
    assert torch.equal(again(IMAGES)[0], model(IMAGES)[0])
    assert not explorer.is_finished
