"""The check by replay: what only a narrow copy shows is pinned, or refused."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import chex_mm
from chex_mm.surgery import compare
from chex_mm.trace.cuts import random_masks
from chex_mm.trace.rules import SIZES, sizes

from .toy_networks import conv


class Net(nn.Module):
    """A convolution, a function of the module and its output, another."""

    def __init__(self, width, between, into=None, out=2):
        super().__init__()
        self.a, self.b = conv(3, width), conv(into or width, out)
        self.between = between

    def forward(self, x):
        return self.b(self.between(self, self.a(x)))


INPUTS = torch.randn(2, 3, 4, 4)


def traced(*args, **settings):
    """A network of `Net`, its graph, and that a cut of it is exact."""
    model = Net(*args, **settings).eval()
    graph = chex_mm.trace_channels(model, (INPUTS,))
    for seed in range(2, 5):
        keep = random_masks(graph, seed)
        masked = copy.deepcopy(model)
        chex_mm.mask_channels(masked, graph, keep)
        narrow = chex_mm.slim(model, graph, keep)
        assert compare(masked, narrow, lambda m: m(INPUTS)).max_abs < 1e-5
    return graph


def free(graph):
    return {group.name: group.size for group in graph.free.values()}


def test_only_the_channels_of_a_constant_slice_are_pinned():
    graph = traced(20, lambda _, x: torch.cat((x[:, :12], x), 1), into=32)
    assert free(graph) == {'a#2': 8}
    assert graph.groups['a'].size == 12
    assert graph.groups['a'].pinned == (
        'a size is written in Python: aten.slice.Tensor in the model takes '
        'others after a cut'
    )


def test_a_slice_that_is_not_constant_pins_nothing():
    def both(_, x):
        return x[:, : x.shape[1]] + x[:, -x.shape[1] :]

    assert free(traced(20, both)) == {'a': 20}


@pytest.mark.parametrize(
    'at, left', [(slice(4, 5), 5), (slice(-6, -5), 0), (slice(-1, None), 9)]
)
def test_one_channel_taken_by_number(at, left):
    """It stays; if that is not enough what is before it, and then all."""

    def take(_, x):
        return torch.cat((x, x[:, at]), 1)

    assert sum(free(traced(10, take, into=11)).values()) == left


def permuted_rows(_, x):
    n, _, h, w = x.shape
    return x.view(n, -1, 2, h, w).transpose(1, 2).flatten(1, 2)


def test_members_of_a_channel_keep_their_order():
    """Slots would have the right labels in the wrong places."""
    graph = traced(8, permuted_rows)
    assert free(graph) == {'a': 4}
    assert graph.groups['a'].slices[0].index.tolist() == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
    ]


def test_norm_groups_of_another_width():
    """Four norm groups of four channels would be four of other ones."""
    graph = traced(16, lambda _, x: F.group_norm(x, 4))
    assert free(graph) == {}
    assert graph.groups['a'].pinned == (
        'after a cut other channels meet at aten.native_group_norm.default '
        'in the model'
    )


class Branch(nn.Module):
    """Goes on, or not, as the code or as the data say."""

    def __init__(self, goes_on):
        super().__init__()
        self.a, self.c, self.b = conv(3, 8), conv(3, 8), conv(8, 2)
        self.goes_on = goes_on

    def forward(self, x):
        y = self.a(x)
        z = self.b(y)
        return z + self.b(y + self.c(x)) if self.goes_on(y, z) else z


def branches(goes_on):
    return chex_mm.trace_channels(
        Branch(goes_on).eval(),
        (INPUTS,),
        also=[lambda m: m.b(m.a(INPUTS) + m.c(INPUTS))],
    )


@pytest.mark.parametrize(
    'goes_on',
    [lambda y, _: y.shape[1] == 8, lambda y, _: y.shape[1] != 8],
    ids=['leaves out', 'adds'],
)
def test_a_branch_that_depends_on_a_size(goes_on):
    graph = branches(goes_on)
    assert free(graph) == {}
    assert graph.groups['a'].pinned == (
        'a size is compared in Python: after a cut other operators run'
    )


def test_a_branch_that_depends_on_data():
    """The masked model takes the other branch as well, so it is harmless."""
    taken = []

    def goes_on(_, z):
        taken.append(float(z.abs().sum()))
        return taken[-1] == taken[0]

    assert free(branches(goes_on)) == {'a': 8}
    assert len(set(taken)) > 1


def test_a_slice_of_what_is_pinned_may_not_shift():
    """Nothing of the second part is cut, yet its place would move."""

    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.c, self.b = conv(3, 8), conv(3, 4), conv(8, 2)

        def forward(self, x):
            a, c = self.a(x), self.c(x)
            return self.b(a), c, torch.cat((a, c), 1)[:, 8:9]

    graph = chex_mm.trace_channels(Shifted(), (INPUTS,))
    assert free(graph) == {}


class Picky(nn.Module):
    """Compares sizes in Python, like many an assertion."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, x=None, *, y=None):
        x = y if x is None else x
        if x.shape[1] != self.width:
            raise ValueError(f'{self.width} channels, please')
        return x


@pytest.mark.parametrize('by', ['position', 'keyword'])
def test_a_module_that_refuses_a_width(by):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = conv(3, 4), conv(4, 5), conv(5, 2)
            self.picky = Picky(4)

        def forward(self, x):
            x = self.a(x)
            x = self.picky(x) if by == 'position' else self.picky(y=x)
            return self.c(self.b(x))

    graph = chex_mm.trace_channels(Model(), (INPUTS,))
    assert free(graph) == {'b': 5}
    assert graph.groups['a'].pinned == (
        'a size is written in Python: picky fails after a cut (ValueError: 4 '
        'channels, please)'
    )


def test_an_error_between_operators():
    """Nothing runs when it is raised; the last result is to blame."""

    def check(model, x):
        assert x.shape[1] == 6, 'six'
        return x

    graph = traced(6, check)
    assert free(graph) == {}
    assert graph.groups['a'].pinned == (
        'a size is written in Python: the model fails after a cut '
        '(AssertionError: six)'
    )


def test_a_failure_that_labels_do_not_account_for():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = conv(3, 4), conv(4, 2)

        def forward(self, x):
            assert self.a.out_channels == 4, 'never cut me'
            return self.b(self.a(x))

    graph = chex_mm.trace_channels(Fixed(), (INPUTS,))
    assert free(graph) == {}
    assert graph.groups['a'].pinned == (
        'a size is written in Python: the model fails after a cut '
        '(AssertionError: never cut me)'
    )


def test_a_module_that_nothing_says_how_to_adapt():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.width, self.gain = 4, nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x):
            return x * self.gain

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = conv(3, 4), conv(4, 5), conv(5, 2)
            self.scale = Scale()

        def forward(self, x):
            return self.c(self.b(self.scale(self.a(x))))

    graph = chex_mm.trace_channels(Model(), (INPUTS,))
    assert free(graph) == {'b': 5}
    assert graph.groups['a'].pinned == (
        "scale is a Scale and owns 'gain', which is to be cut; its width = 4 "
        'may have to follow, but nothing says how.'
    )


class Attention(nn.Module):
    """Looks at what it computed first after it computed something else."""

    def __init__(self):
        super().__init__()
        self.value, self.query = nn.Linear(3, 5), nn.Linear(3, 4)
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        value, query = self.value(x), self.query(x)
        scores = query @ query.transpose(1, 2)
        assert value.shape[2] == 5, 'five'
        return self.out(scores @ value)


def test_an_assertion_about_an_earlier_result():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.a = Attention(), nn.Linear(2, 6)
            self.b = nn.Linear(6, 2)

        def forward(self, x):
            return self.b(self.a(self.attention(x)))

    graph = chex_mm.trace_channels(Model(), (torch.randn(2, 7, 3),))
    assert free(graph)['a'] == 6 and 'attention.value' not in free(graph)
    assert graph.groups['attention.value'].pinned == (
        'a size is written in Python: attention fails after a cut '
        '(AssertionError: five)'
    )


class Extractor(nn.Module):
    """Writes what it picks into a tensor of a width that it was told."""

    def __init__(self, out_channels):
        super().__init__()
        self.out_channels = out_channels

    def forward(self, levels):
        features = levels[0].new_zeros(6, self.out_channels, 2, 2)
        for number, level in enumerate(levels):
            where = torch.arange(3) + 3 * number
            features[where] = F.adaptive_avg_pool2d(level, 2)[[0, 1, 0]]
        return features


class TwoLevels(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(3, 8), nn.Linear(32, 2)
        self.extractor = Extractor(8)

    def forward(self, x):
        return self.c(self.extractor([self.a(x), self.b(x)]).flatten(1))


def test_an_undeclared_size_of_a_module_pins():
    graph = chex_mm.trace_channels(TwoLevels(), (INPUTS,))
    assert free(graph) == {}
    assert 'a size is written in Python' in graph.groups['a'].pinned


def test_a_declared_size_of_a_module_follows(monkeypatch):
    monkeypatch.setitem(
        SIZES,
        Extractor,
        lambda module, args: {'out_channels': [(args[0][0], 1)]},
    )
    model = TwoLevels()
    graph = chex_mm.trace_channels(model, (INPUTS,))
    assert free(graph) == {'a': 8}
    assert len(graph.groups['a'].slices) == 5
    keep = {'a': torch.arange(8) % 3 == 0}
    narrow = chex_mm.slim(model, graph, keep)
    assert narrow.extractor.out_channels == 3
    chex_mm.mask_channels(model, graph, keep)
    assert compare(model, narrow, lambda m: m(INPUTS)).max_abs < 1e-6


class Sum(nn.Module):
    """Adds to a tensor that it makes in a size of its own."""

    def __init__(self, make):
        super().__init__()
        self.width, self.make = 8, make

    def forward(self, x):
        out = getattr(x, self.make)((len(x), self.width, *x.shape[2:]))
        out += x
        return out


@pytest.mark.parametrize('make', ['new_zeros', 'new_ones'])
def test_channels_are_added_to_what_was_made_for_them(monkeypatch, make):
    monkeypatch.setitem(
        SIZES, Sum, lambda module, args: {'width': [(args[0], 1)]}
    )
    model = nn.Sequential(conv(3, 8), Sum(make), conv(8, 2))
    graph = chex_mm.trace_channels(model, (INPUTS,))
    assert free(graph) == {'0': 8}
    keep = random_masks(graph)
    narrow = chex_mm.slim(model, graph, keep)
    chex_mm.mask_channels(model, graph, keep)
    assert compare(model, narrow, lambda m: m(INPUTS)).max_abs < 1e-6


class ConvolvedSum(Sum):
    def __init__(self):
        super().__init__('new_zeros')
        self.conv = conv(4, self.width)

    def forward(self, x):
        out = x.new_zeros(len(x), self.width, *x.shape[2:])
        out += self.conv(x)
        return out


def test_a_size_may_follow_the_rows_of_a_weight(monkeypatch):
    monkeypatch.setitem(
        SIZES,
        ConvolvedSum,
        lambda module, args: {'width': [(module.conv.weight, 0)]},
    )
    model = nn.Sequential(conv(3, 4), ConvolvedSum(), conv(8, 2))
    graph = chex_mm.trace_channels(model, (INPUTS,))
    assert free(graph) == {'0': 4, '1.conv': 8}
    keep = random_masks(graph)
    narrow = chex_mm.slim(model, graph, keep)
    assert narrow[1].width == int(keep['1.conv'].sum())
    chex_mm.mask_channels(model, graph, keep)
    assert compare(model, narrow, lambda m: m(INPUTS)).max_abs < 1e-6


def test_what_was_partly_written_is_no_longer_empty():
    def write(_, x):
        out = x.new_zeros(x.shape)
        out[:, :, 0] = 1
        out[torch.arange(1)] = x[:1]
        return out

    graph = traced(8, write)
    assert free(graph) == {}
    assert 'fixed size at aten.index_put_' in graph.groups['a'].pinned


def fails(when):
    """Fails on some of the calls after the first one, whatever it is given."""
    calls = []

    def between(_, x):
        calls.append(1)
        if when(len(calls)):
            raise RuntimeError('no positive sample')
        return x

    return between


def test_other_masks_are_drawn_where_the_model_itself_fails():
    # The second call is that of a narrow copy, the third of the masked model.
    assert free(traced(8, fails(lambda call: call in (2, 3)))) == {'a': 8}


def test_a_model_that_fails_under_all_masks_is_refused():
    with pytest.raises(chex_mm.ChexError) as error:
        traced(8, fails(lambda call: call > 1))
    assert str(error.value) == (
        'With channels masked, before any cut: The model failed while its '
        'channels were traced: RuntimeError: no positive sample. The model '
        'itself cannot run on such numbers; trace it on data, or with '
        'weights, on which it can.'
    )


def test_a_second_declaration_of_sizes_names_both(monkeypatch):
    def first(module, args):
        return {}

    def second(module, args):
        return {}

    monkeypatch.setitem(SIZES, Extractor, first)
    with pytest.raises(ValueError) as error:
        sizes(Extractor)(second)
    assert f'{__name__}.first already; {__name__}.second' in str(error.value)


def test_masks_of_a_replay():
    model = nn.Sequential(
        conv(3, 16), nn.ReLU(), conv(16, 16), nn.ReLU(), conv(16, 2)
    )
    graph = chex_mm.trace_channels(model, (INPUTS,))
    counts = [
        [int(mask.sum()) for mask in random_masks(graph, seed).values()]
        for seed in (0, 1, 1)
    ]
    assert counts[0] == [11, 10]  # two of the same size keep different numbers
    assert counts[1] == counts[2]
    assert all(6 <= count <= 11 for count in counts[1])
