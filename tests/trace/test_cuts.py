"""Cuts that aim: what the first left out, single channels, slices."""

import torch
from torch import nn

import chex_mm
from chex_mm.trace.cuts import aimed_cuts, random_masks
from chex_mm.trace.origin import Origin
from chex_mm.trace.trace import Runs, graph_of, trace

from .toy_networks import conv

X = torch.randn(2, 3, 4, 4)


def origin_of(model):
    facts = trace(model, Runs.of((X,)), {})
    return Origin(graph_of(model, facts), facts, {})


def chain(*widths):
    sizes = (3, *widths, 2)
    return nn.Sequential(*(conv(a, b) for a, b in zip(sizes, sizes[1:])))


def test_the_second_cut_keeps_what_the_first_left_out():
    origin = origin_of(chain(9, 6, 16))
    first = random_masks(origin.graph)
    second, *_ = aimed_cuts(origin, first)
    for name, mask in first.items():
        assert second.keep[name][~mask].all()
        assert not second.keep[name].all()
    assert not second.is_single


def test_the_second_cut_makes_round_what_was_not():
    """And the last one leaves single channels of what was."""
    origin = origin_of(chain(9, 6, 17, 33, 16))
    second, *_ = aimed_cuts(origin, random_masks(origin.graph))
    kept = [int(mask.sum()) for mask in second.keep.values()]
    assert kept[:4] == [8, 4, 8, 24]
    assert kept[4] % 8


def test_the_last_cut_leaves_one_channel_each():
    origin = origin_of(chain(9, 6))
    *_, last = aimed_cuts(origin, random_masks(origin.graph))
    assert [int(m.sum()) for m in last.keep.values()] == [1, 1]
    assert last.is_single


def test_every_fourth_group_is_hardly_cut():
    graph = chex_mm.trace_channels(chain(20, 20, 20, 20, 20), (X,))
    kept = [int(mask.sum()) for mask in random_masks(graph).values()]
    assert kept[3] == 18
    assert max(kept[:3] + kept[4:]) <= 14


class Sliced(nn.Module):
    """Uneven slices of two maps."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 5), conv(3, 7), conv(12, 2)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        parts = a[:, 3:], a[:, :3], b[:, 1:], b[:, :1]
        return self.c(torch.cat(parts, 1))


def test_slices_are_aimed_at_from_both_sides():
    origin = origin_of(Sliced())
    cuts = [
        {n: mask.long().tolist() for n, mask in aim.keep.items()}
        for aim in aimed_cuts(origin, random_masks(origin.graph))
        if aim.is_at_take
    ]
    *aimed, few = cuts
    assert [sum(kept) for kept in few.values()] == [2, 2]
    assert aimed == [
        {'a': [0, 0, 0, 1, 1], 'b': [0, 1, 1, 1, 1, 1, 1]},
        {'a': [1, 1, 1, 0, 0], 'b': [1, 0, 0, 0, 0, 0, 0]},
    ]


class OneOfSeven(nn.Module):
    """The middle one, wherever that is."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 7), conv(8, 2)

    def forward(self, x):
        a = self.a(x)
        half = a.shape[1] // 2
        return self.b(torch.cat((a, a[:, half : half + 1]), 1))


def test_what_is_before_and_after_a_slice_is_aimed_at_as_well():
    origin = origin_of(OneOfSeven())
    *drawn, few = (
        ''.join(map(str, aim.keep['a'].long().tolist()))
        for aim in aimed_cuts(origin, random_masks(origin.graph))
        if aim.is_at_take
    )
    assert few.count('1') == 2
    # the channel that two columns read is a group of its own
    assert set(drawn) == {'111000', '000111'}
