"""Toy networks have the channel groups that they carry as a literal."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import chex_mm
from chex_mm.graph.groups import Role
from chex_mm.trace.rules import PENALTIES, penalty

from . import (  # noqa: F401  (fill the table)
    toy_code,
    toy_empty,
    toy_operators,
    toy_parameters,
    toy_patterns,
    toy_sharing,
    toy_sums,
    toy_writing,
)
from .toy_networks import TOYS, Coordinates, conv


def places(model, group):
    """The places of a group in the words of `toy_networks`."""
    norms = {n for n, m in model.named_modules() if type(m) is nn.BatchNorm2d}
    words = [str(group.size) + ':']
    for piece in group.slices:
        owner, _, name = piece.tensor.rpartition('.')
        members = piece.index.shape[1]
        if owner in norms:
            word = owner
        else:
            word = owner if name == 'weight' else piece.tensor
            word += f':{piece.dim}' + (f'*{members}' if members > 1 else '')
        if word not in words:
            words.append(word)
    return words


@pytest.mark.parametrize('name', TOYS)
def test_groups(name):
    model, inputs = TOYS[name].build()
    graph = chex_mm.trace_channels(model, (inputs,))
    found = {n: sorted(places(model, g)) for n, g in graph.free.items()}
    assert found == {
        n: sorted(text.split()) for n, text in TOYS[name].groups.items()
    }
    for group, reason in TOYS[name].pinned.items():
        assert reason in graph.groups[group].pinned
    assert graph.unknown_ops == ()


def test_roles():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.deep = conv(3, 4), conv(4, 4, groups=4)
            self.norm, self.b = nn.BatchNorm2d(4), conv(4, 2)
            self.scale = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x):
            return self.b(self.norm(self.deep(self.a(x))) * self.scale)

    graph = chex_mm.trace_channels(Net().eval(), (torch.randn(1, 3, 4, 4),))
    assert {s.tensor: s.role for s in graph.groups['a'].slices} == {
        'a.weight': Role.ROW,
        'a.bias': Role.BIAS,
        'deep.weight': Role.FILTER,
        'deep.bias': Role.BIAS,
        'norm.weight': Role.SCALE,
        'norm.bias': Role.SHIFT,
        'norm.running_mean': Role.STATISTIC,
        'norm.running_var': Role.STATISTIC,
        'scale': Role.VALUE,
        'b.weight': Role.COLUMN,
    }


def positions(group, tensor, dim):
    """Where a tensor holds the channels of a group."""
    return {(s.tensor, s.dim): s.index.tolist() for s in group.slices}[
        tensor, dim
    ]


def test_features_behind_coordinates_keep_their_columns():
    model = Coordinates().eval()
    graph = chex_mm.trace_channels(model, (torch.randn(2, 3, 8, 8),))
    assert positions(graph.groups['a'], 'b.weight', 1) == [[3], [4]]


def test_positions_of_a_flattened_map():
    model, inputs = TOYS['Flattened'].build()
    graph = chex_mm.trace_channels(model, (inputs,))
    assert positions(graph.groups['a'], 'b.weight', 1) == (
        torch.arange(64).view(4, 16).tolist()
    )


def test_positions_of_slots_and_rows():
    for name, expected in (
        ('Grouped', [[0, 4], [1, 5], [2, 6], [3, 7]]),
        ('ConstantRows', [[0, 1], [2, 3], [4, 5], [6, 7]]),
        ('GroupNorm', [[0, 1], [2, 3], [4, 5], [6, 7]]),
    ):
        model, inputs = TOYS[name].build()
        graph = chex_mm.trace_channels(model, (inputs,))
        assert positions(graph.groups['a'], 'a.weight', 0) == expected


class TwoHeads(nn.Module):
    """The auxiliary head runs in training only and adds to the main one."""

    def __init__(self):
        super().__init__()
        self.a, self.main, self.out = conv(3, 4), conv(4, 5), conv(5, 2)
        self.aux = conv(4, 5)

    def forward(self, x, train=False):
        x = self.a(x)
        y = self.main(x)
        return self.out(y + self.aux(x) if train else y)


def test_other_paths_couple_but_do_not_cost():
    model, inputs = TwoHeads().eval(), torch.randn(1, 3, 4, 4)
    alone = chex_mm.trace_channels(model, (inputs,))
    assert {n: str(g.size) for n, g in alone.free.items()} == {
        'a': '4',
        'main': '5',
    }
    both = chex_mm.trace_channels(
        model, (inputs,), also=[lambda m: m(inputs, train=True)]
    )
    assert places(model, both.groups['main']) == (
        '5: main:0 main.bias:0 out:1 aux:0 aux.bias:0'.split()
    )
    assert places(model, both.groups['a']) == (
        '4: a:0 a.bias:0 main:1 aux:1'.split()
    )
    assert both.flops() == alone.flops() == 16 * (12 + 20 + 10)


class Mixed(nn.Module):
    """Positions are mixed by scores that are computed, not learned."""

    def __init__(self):
        super().__init__()
        self.a, self.out = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        scores = x @ x.transpose(1, 2)
        return self.out(scores @ self.a(x))


class TokenMixing(nn.Module):
    """Linear layers, convolutions and products within every channel."""

    def __init__(self):
        super().__init__()
        self.a, self.out = conv(3, 8), conv(8, 2)
        self.mlp = nn.Sequential(nn.Linear(16, 9), nn.GELU(), nn.Linear(9, 16))
        self.blur, self.mix = conv(1, 1, 3), nn.Conv1d(16, 16, 1)
        self.matrices = nn.Parameter(torch.randn(8, 16, 16))

    def forward(self, x):
        x = self.a(x)
        tokens = x.flatten(2)
        tokens = tokens + self.mlp(tokens)
        tokens = tokens + self.mix(tokens.mT).mT
        tokens = tokens + torch.einsum('bcn,cnm->bcm', tokens, self.matrices)
        y = tokens.view(x.shape)
        y = y + (y @ y.mT) @ y
        return self.out(self.blur(y.flatten(0, 1)[:, None]).view(x.shape))


KEEP = torch.arange(8) % 3 == 0
MIXED = Mixed(), torch.randn(2, 5, 3), {'a': KEEP[:4]}
MIXING = TokenMixing(), torch.randn(2, 3, 4, 4), {'a': KEEP}


@pytest.mark.parametrize(('model', 'inputs', 'keep'), [MIXED, MIXING])
def test_a_product_of_channels_costs_less_after_a_cut(model, inputs, keep):
    graph = chex_mm.trace_channels(model, inputs)
    for found, flops in (
        (model, graph.flops()),
        (chex_mm.slim(model, graph, keep), graph.flops(graph.counts(keep))),
    ):
        with FlopCounterMode(display=False) as counter:
            found(inputs)
        assert flops == counter.get_total_flops() // 2


class Decay(nn.Module):
    """A loss on the weights of a module."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Identity()

    def forward(self, module):
        return self.inner(module.weight).flatten().square().mean()


class Decayed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.decay = conv(3, 4), conv(4, 2), Decay()

    def forward(self, x):
        return self.b(self.a(x)), self.decay(self.a)


def trace_decayed():
    return chex_mm.trace_channels(Decayed(), (torch.ones(1, 3, 4, 4),))


def test_a_loss_takes_weights_as_a_whole():
    reason = 'aten.mean.default in decay reduces over channels'
    assert trace_decayed().groups['a'].pinned == reason


@pytest.fixture
def decay_is_a_penalty():
    penalty(Decay)
    yield
    PENALTIES.remove(Decay)


def test_a_penalty_couples_nothing(decay_is_a_penalty):
    assert list(trace_decayed().free) == ['a']


class Shuffled(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = conv(3, 8), conv(8, 64), conv(16, 2)

    def forward(self, x):
        return self.out(nn.functional.pixel_shuffle(self.b(self.a(x)), 2))


@pytest.mark.parametrize('size', [5, 8, 16])
def test_groups_do_not_depend_on_the_size_of_the_image(size):
    model, inputs = Shuffled(), torch.randn(2, 3, size, size)
    graph = chex_mm.trace_channels(model, (inputs,))
    assert {n: g.size for n, g in graph.free.items()} == {'a': 8, 'b': 16}


def test_what_computes_nothing_costs_nothing():
    model, inputs = TOYS['NoImages'].build()
    graph = chex_mm.trace_channels(model, (inputs,))
    assert graph.flops() == 2 * 64 * (3 * 4 + 4 * 2)
