"""A direction is not zero where it is masked, so not all may read it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import chex_mm

WIDTH = 6
normed = torch._weight_norm


class Net(nn.Module):
    """A layer with a weight made of `v`, `g` and `h`, and one behind it."""

    def __init__(self, weigh):
        super().__init__()
        self.v, self.w = (
            nn.Parameter(torch.randn(WIDTH, WIDTH)) for _ in range(2)
        )
        self.g, self.h = (
            nn.Parameter(torch.rand(WIDTH, 1) + 0.5) for _ in range(2)
        )
        self.first, self.last = nn.Linear(3, WIDTH), nn.Linear(WIDTH, 2)
        self.weigh = weigh

    def forward(self, x):
        return self.last(self.weigh(self, self.first(x).relu()))


def traced(weigh):
    torch.manual_seed(0)
    return chex_mm.trace_channels(Net(weigh).eval(), (torch.randn(5, 3),))


def count_free(graph):
    return sum(group.size for group in graph.free.values())


def layer(net, x):
    return F.linear(x, normed(net.v, net.g, 0))


def two_lengths(net, x):
    return F.linear(layer(net, x).relu(), normed(net.v, net.h, 0))


def also_plain(net, x):
    return layer(net, x) + F.linear(x, net.v)


@pytest.mark.parametrize(
    ('weigh', 'expected'),
    # What goes in and out of one weight twice is one channel.
    [(layer, 2 * WIDTH), (two_lengths, WIDTH), (also_plain, 2 * WIDTH)],
)
def test_lengths_make_what_is_read_zero(weigh, expected):
    graph = traced(weigh)
    assert (count_free(graph), graph.unknown_ops) == (expected, ())


OTHERS = (
    'aten._weight_norm_interface.default in the model divides by its norm, '
    'others do not'
)


def read_before(net, x):
    return net.v.norm() * layer(net, x)


def read_behind(net, x):
    return layer(net, x) * net.v.norm()


def scaled_by_it(net, x):
    made = layer(net, x)
    return made / (1 + F.linear(x, net.v).norm(dim=1, keepdim=True))


def both_ways(net, x):
    return F.linear(layer(net, x), normed(net.v, net.h.t(), 1))


def length_of_another(net, x):
    direction = normed(net.h, net.g, 0)
    return F.linear(x, normed(net.v, net.h, 0)) * direction.t()


NORM = 'aten.linalg_vector_norm.default in the model'


@pytest.mark.parametrize(
    ('weigh', 'reason', 'expected'),
    [
        (read_before, OTHERS, WIDTH),  # columns are zero as anywhere
        (length_of_another, OTHERS, WIDTH),
        (read_behind, f'{NORM} reduces over channels', 0),
        (scaled_by_it, f'{NORM} reduces over channels', WIDTH),
    ],
)
def test_what_needs_zeros_pins_rows(weigh, reason, expected):
    graph = traced(weigh)
    assert count_free(graph) == expected
    assert reason in [group.pinned for group in graph.groups.values()]


def test_lengths_that_are_computed_are_not_understood():
    graph = traced(both_ways)
    (unknown,) = graph.unknown_ops
    assert unknown.op == 'aten._weight_norm_interface.default'
    assert count_free(graph) == 0
