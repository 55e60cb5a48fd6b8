"""A wrong cut is seen and named, and only the groups behind it are blamed."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import chex_mm
from chex_mm.trace.comparison import Comparison, check_cut, fewest, stirred
from chex_mm.trace.side_by_side import compare_runs, relative_gap

X = torch.randn(2, 3, 8, 8)


class Chain(nn.Module):
    """Three convolutions, something in front of the last, and after it."""

    def __init__(self, between=None, after=None):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 10, 3)
        self.c = nn.Conv2d(10, 2, 1)
        self.between, self.after = between, after

    def forward(self, x):
        y = self.a(x).relu()
        z = self.b(y)
        if self.between:
            z = self.between(z)
        z = self.c(z)
        return self.after(z, y) if self.after else z


PLAIN = chex_mm.trace_channels(Chain(), (X,))


def compared(model, keep, graph=PLAIN, **settings):
    """Against the graph of the plain chain, which knows of nothing else."""
    comparison = Comparison(model.eval(), (lambda m: m(X),), graph)
    return comparison, comparison.mismatch(keep, **settings)


def masks(a=6, b=5):
    return {'a': torch.arange(12) < a, 'b': torch.arange(10) < b}


def test_a_right_cut_has_no_mismatch():
    assert compared(Chain(), masks())[1] is None


WRONG = {
    'relu if narrow': (
        Chain(lambda z: z if z.shape[1] > 6 else z.relu()),
        'a size is compared in Python: after a cut other operators run',
    ),
    'sum if narrow': (
        Chain(lambda z: z if z.shape[1] > 6 else z + z),
        'after a cut the model gives other results',
    ),
    'a number after the head': (
        Chain(after=lambda z, y: z / y.shape[1]),
        'aten.div.Tensor in the model computes with another number after a '
        'cut',
    ),
    'a window': (
        Chain(lambda z: F.avg_pool2d(z, 1 + z.shape[1] // 10)),
        'aten.avg_pool2d.default in the model computes with another number '
        'after a cut',
    ),
    'moved by position': (
        Chain(lambda z: z.roll(1, 1)),
        'after a cut the model gives other results',
    ),
    'zero over zero': (
        Chain(lambda z: z / z.sum((2, 3), keepdim=True)),
        'the model makes a number that is not finite of a masked channel',
    ),
    'another shape': (
        Chain(after=lambda z, y: z[..., : y.shape[1] // 3]),
        'after a cut the results have other shapes',
    ),
}


@pytest.mark.parametrize('name', WRONG)
def test_a_wrong_cut_is_seen(name):
    model, said = WRONG[name]
    model.b.bias.data.zero_()
    assert compared(model, masks())[1].reason == said


def test_a_failure_of_the_narrow_model_is_a_mismatch():
    def check(z):
        assert z.shape[1] == 10, 'ten'
        return z

    reason = compared(Chain(check), masks())[1].reason
    assert reason.endswith('fails after a cut (AssertionError: ten)')


def test_a_failure_of_the_masked_model_says_nothing():
    def check(z):
        if not z.abs().sum((0, 2, 3)).all():
            raise RuntimeError('a dead channel')
        return z

    model = Chain(check)
    model.b.bias.data.fill_(1)
    comparison, mismatch = compared(model, masks())
    assert mismatch is None
    with pytest.raises(chex_mm.ChexError) as error:
        check_cut(comparison, masks())  # a claim about it cannot be kept
    assert str(error.value) == (
        'The masked model cannot be run beside the narrow one: '
        'RuntimeError: a dead channel. Give a batch that the model runs on, '
        'or write verify=False.'
    )


def test_random_zeros_of_cut_channels_are_no_difference():
    model = Chain(lambda z: F.dropout(z, 0.5, training=True))
    assert compared(model, masks())[1] is None
    model = Chain(lambda z: F.dropout2d(z, 0.5, training=True))
    assert compared(model, masks())[1] is None


def test_where_other_numbers_are_drawn_nothing_is_compared():
    model = Chain(lambda z: z + torch.rand_like(z))
    assert compared(model, masks())[1] is None


@pytest.mark.parametrize(
    ('model', 'blamed'),
    [
        (Chain(after=lambda z, y: z / y.shape[1]), ['a']),
        (Chain(lambda z: z if z.shape[1] == 10 else z.relu()), ['b']),
        (
            Chain(
                after=lambda z, y: z * 2 if y.shape[1] + 5 < 12 else z,
            ),
            ['a'],
        ),
    ],
)
def test_only_the_groups_behind_a_mismatch_are_blamed(model, blamed):
    keep = masks()
    comparison, mismatch = compared(model, keep)
    assert comparison.causes(keep, mismatch, True)[0] == blamed


def test_several_groups_that_make_a_mismatch_together():
    widths = {}

    def note(z):
        widths['b'] = z.shape[1]
        return z

    def after(z, y):
        return z if y.shape[1] + widths['b'] > 12 else z.sigmoid()

    keep = masks()
    comparison, mismatch = compared(Chain(note, after), keep)
    assert comparison.causes(keep, mismatch, True)[0] == ['a', 'b']


def test_the_first_operator_that_differs_is_named():
    """Also where only results show that something is wrong."""
    comparison, _ = compared(Chain(lambda z: z.roll(1, 1)), masks())
    assert comparison.named(masks(), has_steps=True) == (
        'aten.convolution.default in c gives other values after a cut'
    )


def test_masks_in_use_are_refused_in_words():
    model = Chain(after=lambda z, y: z / y.shape[1]).eval()
    comparison = Comparison(model, (lambda m: m(X),), PLAIN)
    check_cut(comparison, {})
    with pytest.raises(chex_mm.ChexError) as error:
        check_cut(comparison, masks())
    assert str(error.value) == (
        'The masked and the narrow model differ: aten.div.Tensor in the '
        'model computes with another number after a cut. Weights trained '
        'under these masks would not be those of any narrow model. Leave '
        'what runs there out with exclude=[...], and report the operator.'
    )


def test_a_model_that_differs_from_itself_is_refused():
    calls = itertools.count()
    model = Chain(after=lambda z, y: z * (1 + next(calls)))
    comparison, mismatch = compared(model, masks())
    with pytest.raises(chex_mm.ChexError, match='Two runs of the same model'):
        comparison.causes(masks(), mismatch, True)


def test_what_rounding_moves_as_far_is_no_difference():
    """A difference of equal numbers is noise, of whatever size it looks."""
    model = Chain(after=lambda z, y: z - z.double().float() * (1 + 1e-7))
    assert compared(model, masks())[1] is None


@pytest.mark.parametrize(
    'causes', [{3}, {0}, {1, 6}, {0, 3, 7}, set(range(8))]
)
def test_the_fewest_of_many(causes):
    """Against every subset, as brute force would find them."""
    asked = []

    def differs(names):
        asked.append(names)
        return causes <= set(names)

    assert set(fewest(differs, list(range(8)))) == causes
    assert len(asked) <= 2 * len(causes) * 4 + 1


def test_nothing_to_choose_from():
    assert fewest(lambda names: True, []) == []


def test_weights_of_zeros_do_not_hide_what_is_behind():
    model = Chain(lambda z: z.roll(1, 1))
    model.c.weight.data.zero_()
    assert compared(model, masks())[1] is None
    awake = stirred(model)
    assert not model.c.weight.any() and awake.c.weight.any()
    assert compared(awake, masks())[1] is not None
    assert stirred(Chain()).c is not None


def test_a_model_without_zeros_is_not_copied():
    model = Chain()
    assert stirred(model) is model


def test_hooks_and_random_states_are_left_alone():
    model = Chain().eval()
    state = torch.get_rng_state()
    assert compare_runs(model, model, [lambda m: m(X)]) is None
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks for m in model.modules())


def test_a_gap_is_of_what_is_finite():
    a = torch.tensor([1.0, 2.0, float('inf')])
    assert relative_gap(a, a) == 0
    assert relative_gap(a, a + torch.tensor([0.0, 0.5, 0.0])) == 0.25
