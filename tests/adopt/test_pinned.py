"""What stays, whatever is cut, and what is said to keep it."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import chex_mm
from chex_mm.adopt.pinned import PinnedWork, pinned_by_reason, pinned_work

from ..trace.toy_networks import TOYS


class Net(nn.Module):
    """`b` reads the image and leaves the model; nothing of it may go."""

    def __init__(self):
        super().__init__()
        self.a, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)
        self.b = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.c(self.a(x)), self.b(x), x.flatten(2) @ torch.ones(16, 5)


def traced():
    return chex_mm.trace_channels(Net(), (torch.randn(1, 3, 4, 4),))


def test_what_no_cut_reduces_is_pinned():
    fixed = 'it meets something of fixed size at aten.convolution.default in a'
    assert pinned_work(traced()) == [
        PinnedWork('', 240, 240, ('all: it computes with activations only',)),
        PinnedWork(
            'b', 96, 96, ('out: it leaves the model', f'in: {fixed[:-1]}b')
        ),
    ]


def test_sums_by_reason_and_words():
    graph = traced()
    assert pinned_by_reason(graph)['it leaves the model'] == 96
    assert str(pinned_work(graph)[1]).startswith(
        'b: 96 of 96 multiply-adds are pinned; out: it leaves the model; in: '
    )


def test_the_lengths_of_a_weight_are_of_the_module_that_uses_it():
    model = nn.Sequential(weight_norm(nn.Conv2d(3, 2, 1)))
    (found,) = pinned_work(
        chex_mm.trace_channels(model, (torch.randn(1, 3, 4, 4),))
    )
    assert found.module == '0'
    assert 'out: it leaves the model' in found.reasons


def test_only_the_pairs_of_pinned_channels_count():
    """Coordinates meet the output: 3 of 5 columns, all 4 rows."""
    model, inputs = TOYS['Coordinates'].build()
    graph = chex_mm.trace_channels(model, (inputs,))
    (found,) = pinned_work(graph)
    assert (found.module, found.flops) == ('b', 2 * 64 * 3 * 4)
    assert found.total == 2 * 64 * 5 * 4
