"""compare() shares decisions and hides no difference."""

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from chex_mm.errors import ChexError
from chex_mm.surgery import compare, mask_channels, slim

from .hand_graphs import CASES, build, random_keep

TIES = torch.tensor([1.0, 1, 1, 0.5, 0.5, 0.25])
VALUES = torch.tensor([0.0, 1, 2, 3, 4, 5])


class Noisy(nn.Module):
    """Scores that differ by rounding between two models."""

    def __init__(self, noise):
        super().__init__()
        self.noise = nn.Parameter(torch.tensor(noise))

    def forward(self, x):
        return x + self.noise * torch.arange(len(x))


def topk(scores):
    score, index = scores.topk(2)
    return score, VALUES[index]


def sort(scores):
    score, index = torch.sort(scores, descending=True, stable=True)
    return score, VALUES[index]


def argmax(scores):
    return VALUES[scores.argmax()]


def largest(scores):
    score, index = scores.view(2, 3).max(dim=1)
    return score, VALUES[index]


def threshold(scores):
    return VALUES[scores > 0.5]


def in_place_threshold(scores):
    return scores.gt_(0.5) * VALUES


def out_threshold(scores):
    mask = torch.zeros(6, dtype=torch.bool)
    torch.gt(scores, 0.5, out=mask)
    return VALUES[mask]


def nonzero(scores):
    return VALUES[(scores - 0.5).nonzero()]


def assigned(scores):
    mask = torch.zeros(6, dtype=torch.bool)
    mask[:] = scores > 0.5
    return VALUES[mask]


def rounded(scores):
    return scores.round() * 100


def floored(scores):
    return VALUES[(1 - scores * 2).floor().long()]


def branch(scores):
    return VALUES if bool(scores[3] > 0.5) else VALUES[:2]


def extension_nms(scores):
    ops = pytest.importorskip('mmcv.ops')
    boxes = VALUES[:, None] + torch.tensor([0.0, 0, 9, 9])
    dets, index = ops.nms(boxes, scores, 0.5)
    return dets, VALUES[index]


class Ranked(torch.autograd.Function):
    """Decides where no dispatcher can look."""

    @staticmethod
    def forward(ctx, scores):
        order = np.argsort(-scores.detach().numpy(), kind='stable')
        return scores * 2, torch.from_numpy(order)


def kernel(scores):
    doubled, order = Ranked.apply(scores)
    return doubled, VALUES[order]


DECISIONS = [
    topk,
    sort,
    argmax,
    largest,
    threshold,
    in_place_threshold,
    out_threshold,
    nonzero,
    assigned,
    rounded,
    floored,
    branch,
    extension_nms,
    kernel,
]


@pytest.mark.parametrize('decide', DECISIONS, ids=lambda d: d.__name__)
def test_decisions_on_equal_scores_are_shared(decide):
    def run(model):
        return decide(model(TIES))

    plain = [run(Noisy(noise)) for noise in (0.0, 1e-7)]
    with pytest.raises(AssertionError):  # the noise does flip something
        torch.testing.assert_close(*plain)
    difference = compare(Noisy(0.0), Noisy(1e-7), run)
    assert difference.max_abs < 1e-4
    assert difference.max_rel < 1e-5
    assert difference.at_decisions < 1e-5
    assert difference.decisions >= difference.flipped >= 1
    assert difference.aligned


def test_functions_are_as_before_afterwards():
    before = Ranked.__dict__['forward']
    compare(Noisy(0.0), Noisy(0.0), lambda model: kernel(model(TIES)))
    assert Ranked.__dict__['forward'] is before


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.__name__)
def test_masked_and_narrow(case):
    model, x, graph = build(case)
    keep = random_keep(graph, 2)
    narrow = slim(model, graph, keep)
    mask_channels(model, graph, keep)
    difference = compare(model, narrow, lambda m: {'out': [m(x)]})
    assert difference.max_abs < 1e-5
    assert difference.aligned


def test_decisions_on_cut_channels_are_left_alone():
    class Gate(nn.Module):
        def forward(self, x):
            return torch.where(x > 0, x, 0.1 * x)

    model, x, graph = build(CASES[0])
    model.norm = nn.Sequential(Gate())
    graph = graph_without_norm(graph)
    keep = random_keep(graph, 0)
    narrow = slim(model, graph, keep)
    mask_channels(model, graph, keep)
    difference = compare(model, narrow, lambda m: m(x))
    assert difference.max_abs < 1e-6
    assert difference.decisions == 0
    assert difference.aligned


def graph_without_norm(graph):
    group = graph.groups['one']
    slices = tuple(s for s in group.slices if not s.tensor.startswith('norm'))
    copied = copy.copy(graph)
    object.__setattr__(group, 'slices', slices)
    shapes = {n: s for n, s in graph.shapes.items() if 'norm' not in n}
    object.__setattr__(copied, 'shapes', shapes)
    return copied


def test_a_real_difference_is_reported():
    model = nn.Linear(2, 3, bias=False)
    other = copy.deepcopy(model)
    x = torch.tensor([[2.0, 0.0]])
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[4.0, 0], [1, 0], [1, 0]]))
        other.weight.copy_(model.weight)
        other.weight[1, 0] += 0.25
    difference = compare(model, other, lambda m: {'a': m(x), 'b': (1.0, None)})
    assert difference.max_abs == 0.5
    assert difference.max_rel == 0.5 / 8
    assert str(difference) == (
        'largest difference 5.0e-01 (6.2e-02 relative); 0 shared decisions, '
        '0 flipped, on values 0.0e+00 apart'
    )


def test_what_a_decision_hides_is_reported():
    difference = compare(
        Noisy(-0.1), Noisy(0.1), lambda m: m(TIES[:3]).argmax()
    )
    assert difference.max_abs == 0
    assert difference.flipped == 1
    assert difference.at_decisions == pytest.approx(0.4)


@pytest.mark.parametrize('first', [math.nan, 0.0])
def test_nan_is_an_infinite_difference(first):
    second = 0.0 if math.isnan(first) else math.nan
    difference = compare(Noisy(first), Noisy(second), lambda m: m(TIES))
    assert difference.max_abs == math.inf
    assert difference.max_rel == math.inf
    both = compare(Noisy(math.nan), Noisy(math.nan), lambda m: m(TIES))
    assert both.max_abs == math.inf


def test_equal_infinities_are_equal():
    difference = compare(Noisy(0.0), Noisy(0.0), lambda m: m(TIES) + math.inf)
    assert (difference.max_abs, difference.max_rel) == (0, 0)


class Other(Noisy):
    """A model that `run` can tell from the first."""


def test_lost_alignment_is_recorded():
    def run(model):
        x = model(TIES)
        if isinstance(model, Other):
            return x.sort().values
        return x.topk(6).values.flip(0)

    difference = compare(Noisy(0.0), Other(1.0), run)
    assert not difference.aligned
    assert difference.lost_at == (
        'decision 0: aten.topk.default in the first run, aten.sort.default '
        'in the second'
    )
    assert difference.decisions == 0
    assert difference.max_abs > 1
    assert 'lost at decision 0' in str(difference)


def test_missing_and_further_decisions_are_recorded():
    def run(model):
        x = model(TIES)
        return (x > 9) * x if isinstance(model, Other) else x * 0

    further = compare(Noisy(0.0), Other(0.0), run)
    assert further.lost_at == (
        'decision 0: the end in the first run, aten.gt.Scalar in the second'
    )
    missing = compare(Other(0.0), Noisy(0.0), run)
    assert missing.lost_at == (
        'decision 0: aten.gt.Scalar in the first run, the end in the second'
    )


def test_modes_and_random_states_are_put_back():
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(6))
    model[0].eval()
    other = copy.deepcopy(model).eval()
    torch.manual_seed(3)
    state = torch.get_rng_state()

    def run(each):
        assert not each.training and not torch.is_grad_enabled()
        return each(torch.rand(2, 6))  # the same for both

    assert compare(model, other, run).max_abs == 0
    assert torch.equal(state, torch.get_rng_state())
    assert [m.training for m in model.modules()] == [True, False, True]
    assert [m.training for m in other.modules()] == [False, False, False]


def test_both_draw_the_same_from_numpy_and_python():
    model = nn.Linear(4, 4)
    states = random.getstate(), np.random.get_state()[1].tolist()

    def run(each):
        return each(torch.ones(1, 4)) * np.random.rand() + random.random()

    assert compare(model, copy.deepcopy(model), run).max_abs == 0
    assert states == (random.getstate(), np.random.get_state()[1].tolist())


def test_outputs_of_different_shape_are_refused():
    def run(model):
        return {'boxes': torch.ones(2 + isinstance(model, Other))}

    with pytest.raises(ChexError) as error:
        compare(Noisy(0.0), Other(1.0), run)
    assert str(error.value) == (
        "Output ['boxes'] has shape (2,) in the masked model and (3,) in the "
        'narrow one.'
    )


def test_outputs_of_different_structure_are_refused():
    def run(model):
        return [model(TIES)] * (1 + isinstance(model, Other))

    with pytest.raises(ChexError) as error:
        compare(Noisy(0.0), Other(1.0), run)
    assert str(error.value) == (
        'The outputs differ in structure: the masked model returns '
        "['[0]'], the narrow one ['[0]', '[1]']."
    )


def test_objects_are_refused():
    with pytest.raises(ChexError, match=r'Output \[0\] is a object; let run'):
        compare(Noisy(0.0), Noisy(0.0), lambda m: [object()])


def test_numbers_are_compared():
    def run(model):
        return {'loss': model(TIES).sum().item(), 'name': 'loss'}

    difference = compare(Noisy(0.0), Noisy(0.1), run)
    assert difference.max_abs == pytest.approx(1.5)
    assert difference.aligned
