"""The budget is met, exactly and by the best channels."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from chex_mm.budget.allocation import (
    AllocationSpace,
    allocate,
    reachable_range,
    uniform_counts,
    uniform_share,
)
from chex_mm.budget.budgets import BUDGETS, Budget

from ..submodel.hand_built import Chain, Residual, graph_of, group


def full(graph):
    return {
        n: torch.ones(g.size, dtype=torch.bool) for n, g in graph.free.items()
    }


def random_scores(graph, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        n: torch.rand(g.size, dtype=torch.float64, generator=generator)
        for n, g in graph.free.items()
    }


def above(scores, q):
    return {n: int((s > q).sum()) for n, s in scores.items()}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(BUDGETS)),
    keep=st.floats(0.2, 1),
    seed=st.integers(0, 99),
    toy=st.sampled_from([Chain, Residual]),
)
def test_budget_is_met_by_a_quantile_and_filled(kind, keep, seed, toy):
    graph = toy().graph()
    space = AllocationSpace.build(graph, Budget(kind, keep))
    scores = random_scores(graph, seed)
    counts = allocate(space, scores, full(graph))
    assert space.is_within_budget(counts)
    # nothing more fits
    for name, count in counts.items():
        if count < graph.groups[name].size:
            wider = {**counts, name: count + 1}
            assert not space.is_within_budget(wider)
    # no quantile within the budget keeps more channels of any group
    for q in [-1.0, *torch.cat(list(scores.values())).tolist()]:
        best = {n: max(1, c) for n, c in above(scores, q).items()}
        if space.is_within_budget(best):
            assert all(counts[n] >= c for n, c in best.items())


@pytest.mark.parametrize('kind', BUDGETS)
def test_cost_rises_with_the_budget(kind):
    graph = Chain().graph()
    scores = random_scores(graph)
    shares = []
    for keep in torch.linspace(0.2, 1, 33).tolist():
        space = AllocationSpace.build(graph, Budget(kind, keep))
        shares.append(space.share(allocate(space, scores, full(graph))))
        assert shares[-1] <= keep
    assert shares == sorted(shares) and shares[-1] == 1


def test_equal_scores_fill_the_groups_evenly():
    graph = Chain(8, 16).graph()
    space = AllocationSpace.build(graph, Budget('channels', 0.5))
    scores = {n: torch.ones(g.size).double() for n, g in graph.free.items()}
    counts = allocate(space, scores, full(graph))
    assert counts == {'conv1': 4, 'conv2': 8}


def test_a_channel_budget_is_met_to_the_channel():
    graph = Chain(8, 12).graph()
    for active in range(2, 21):
        space = AllocationSpace.build(graph, Budget('channels', active / 20))
        counts = allocate(space, random_scores(graph), full(graph))
        assert sum(counts.values()) == active


def test_inactive_channels_do_not_join():
    graph = Chain().graph()
    keep = full(graph)
    keep['conv1'][:5] = False
    space = AllocationSpace.build(graph, Budget('channels', 1))
    counts = allocate(space, random_scores(graph), keep)
    assert counts == {'conv1': 3, 'conv2': 12}


def test_the_floor_holds():
    graph = Chain(8, 12).graph()
    space = AllocationSpace.build(graph, Budget('channels', 0.5))
    scores = random_scores(graph)
    scores['conv1'] -= 10
    assert allocate(space, scores, full(graph))['conv1'] == 1
    floored = space.with_floor(lambda size: size / 4)
    assert allocate(floored, scores, full(graph)) == {
        'conv1': 2,
        'conv2': 8,
    }


@pytest.mark.parametrize('divisor', [2, 4, 5, 8, 16])
@pytest.mark.parametrize('kind', BUDGETS)
def test_counts_are_multiples_of_the_divisor_or_everything(kind, divisor):
    graph = Chain(20, 36).graph()
    for keep, seed in itertools.product((0.45, 0.6, 0.8), range(3)):
        space = AllocationSpace.build(
            graph, Budget(kind, keep), divisor=divisor
        )
        try:
            space.check_reachable()
        except ValueError:
            continue
        counts = allocate(space, random_scores(graph, seed), full(graph))
        assert space.is_within_budget(counts)
        for name, count in counts.items():
            assert count % divisor == 0 or count == graph.groups[name].size


def test_rounding_takes_the_nearest_level():
    graph = Chain(8, 36).graph()
    space = AllocationSpace.build(graph, Budget('flops', 0.5), divisor=8)
    assert space.levels == {'conv1': (8,), 'conv2': (8, 16, 24, 32, 36)}
    nearest = [space.nearest('conv2', n) for n in (0, 11, 12, 33, 34, 40)]
    assert nearest == [8, 8, 16, 32, 36, 36]
    assert space.at_least('conv2', 17) == 24


def test_divisor_counts_positions_of_channels_with_members():
    class Shuffled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 24, 1)

    model = Shuffled()
    grouped = group('conv', 6, ('conv.weight', 0, 'row', 4))
    graph = graph_of(model, [grouped])
    space = AllocationSpace.build(graph, Budget('channels', 1), divisor=8)
    assert space.levels['conv'] == (2, 4, 6)


def test_uniform_counts_are_the_largest_that_fit():
    graph = Chain(16, 32).graph()
    budget = Budget('flops', 0.5)
    space = AllocationSpace.build(graph, budget)
    counts = uniform_counts(graph, budget)
    assert space.is_within_budget(counts)
    share = uniform_share(space)
    assert 0.6 < share < 0.75
    for name, count in counts.items():
        assert abs(count - share * graph.groups[name].size) <= 0.5 + 1e-6
    wider = {n: c + 1 for n, c in counts.items()}
    assert not space.is_within_budget(wider)
    assert uniform_counts(graph, Budget('flops', 1)) == {
        'conv1': 16,
        'conv2': 32,
    }


def test_an_unreachable_budget_states_the_range_and_the_reasons():
    graph = Chain(8, 12).graph()
    space = AllocationSpace.build(
        graph, Budget('params', 0.05), scope=['conv2']
    )
    low, high = reachable_range(space)
    assert high == 1 and 0.2 < low < 0.35
    with pytest.raises(ValueError) as error:
        allocate(space, random_scores(graph), full(graph))
    assert str(error.value) == (
        "A budget of 5% of the model's params is out of reach: the share can "
        'be between 0.27 and 1.00. Of the dense cost 19.9% is pinned or out '
        'of scope, 6.7% is the narrowest width that floor and divisor allow. '
        'Write keep=0.27 or more, lower the floor or the divisor, or widen '
        'the scope.'
    )
    reached = AllocationSpace.build(
        graph, Budget('params', 0.27), scope=['conv2']
    )
    assert uniform_share(reached) > 0


def test_a_budget_of_the_scope_counts_only_the_scope():
    graph = Chain(8, 12).graph()
    space = AllocationSpace.build(
        graph, Budget('flops', 0.5, of='scope'), scope=['conv2']
    )
    counts = allocate(space, random_scores(graph), full(graph))
    assert counts == {'conv2': 6}
