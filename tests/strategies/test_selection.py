"""Column subset selection against brute force on the matrix itself."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chex_mm.strategies.selection import (
    gram,
    leverage_scores,
    residuals,
    select_columns,
)


@st.composite
def matrices(draw):
    """Weights (channels, members, fan_in): any rank, zeros, duplicates."""
    channels = draw(st.integers(1, 8))
    members = draw(st.integers(1, 3))
    fan_in = draw(st.integers(1, 20))
    rank = draw(st.integers(1, fan_in))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9999)))
    left = torch.randn(channels * members, rank, generator=generator)
    right = torch.randn(rank, fan_in, generator=generator)
    weight = (left @ right).view(channels, members, fan_in)
    for i, kind in enumerate(
        draw(
            st.lists(
                st.sampled_from(['zero', 'twin', 'plain']),
                max_size=channels,
            )
        )
    ):
        if kind == 'zero':
            weight[i] = 0
        if kind == 'twin':
            weight[i] = weight[0]
    return weight


def columns_of(weight):
    return weight.double().flatten(0, 1).T  # (fan_in, columns)


def brute_rank(values):
    return int((values > 1e-5 * values.max()).sum())


@settings(max_examples=150, deadline=None)
@given(matrices(), st.data())
def test_leverage_equals_svd(weight, data):
    channels, members = weight.shape[:2]
    k = data.draw(st.integers(1, channels))
    _, values, rows = torch.linalg.svd(columns_of(weight), full_matrices=False)
    top = min(k * members, brute_rank(values))
    if 0 < top < len(values):  # otherwise the top-k space is not unique
        assume(values[top - 1] - values[top] > 1e-2 * values[0])
    expected = rows[:top].square().sum(0).view(channels, members).sum(1)
    found = leverage_scores(gram([weight]), k)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


@settings(max_examples=150, deadline=None)
@given(matrices(), st.data())
def test_residuals_equal_least_squares(weight, data):
    channels, members = weight.shape[:2]
    kept = data.draw(st.sets(st.integers(0, channels - 1), min_size=1))
    retained = torch.zeros(channels, dtype=torch.bool)
    retained[list(kept)] = True
    columns = columns_of(weight)
    inside = columns[:, retained.repeat_interleave(members)]
    _, values, rows = torch.linalg.svd(inside, full_matrices=False)
    assume(
        not ((values > 1e-6 * values[0]) & (values < 1e-2 * values[0])).any()
    )
    solved = torch.linalg.lstsq(
        inside, columns, rcond=1e-5, driver='gelsd'
    ).solution
    expected = (columns - inside @ solved).square().sum(0)
    expected = expected.view(channels, members).sum(1)
    found = residuals(gram([weight]), retained)
    assert (found >= 0).all() and (found[retained] == 0).all()
    scale = float(columns.square().sum()) or 1.0
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9 * scale)


def test_residuals_do_not_depend_on_the_solver(monkeypatch):
    weight = torch.randn(12, 1, 30, generator=torch.Generator().manual_seed(0))
    retained = torch.arange(12) < 7
    fast = residuals(gram([weight]), retained)
    monkeypatch.setattr('chex_mm.strategies.selection.SAFE_PIVOT', 2.0)
    slow = residuals(gram([weight]), retained)
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=0)


@settings(max_examples=100, deadline=None)
@given(matrices(), st.data())
def test_selection_takes_the_largest_scores(weight, data):
    k = data.draw(st.integers(1, len(weight)))
    products = gram([weight])
    mask = select_columns(products, k)
    scores = leverage_scores(products, k)
    assert int(mask.sum()) == k
    if k < len(weight):
        assert scores[mask].min() >= scores[~mask].max() - 1e-8


def test_stacked_producers_are_one_tall_matrix():
    upper, lower = torch.randn(5, 2, 3), torch.randn(5, 2, 7)
    stacked = columns_of(torch.cat([upper, lower], 2))
    torch.testing.assert_close(
        gram([upper, lower]).view(10, 10), stacked.T @ stacked
    )


def test_producers_with_fewer_members_get_zero_columns():
    wide, plain = torch.randn(4, 2, 3), torch.randn(4, 1, 3)
    padded = torch.cat([plain, torch.zeros(4, 1, 3)], 1)
    torch.testing.assert_close(gram([wide, plain]), gram([wide, padded]))


def test_ties_go_to_the_norm_then_to_the_position():
    axes = torch.eye(3)
    weight = torch.stack([axes[0], 2 * axes[1], axes[2], 2 * axes[0] * 0])
    # rank 3 < 4: the first three have leverage 1 each, the last has 0
    full = select_columns(gram([weight[:, None]]), 3)
    assert full.tolist() == [True, True, True, False]
    twins = torch.ones(4, 1, 2)
    assert select_columns(gram([twins]), 2).tolist() == [True, True] + [
        False,
        False,
    ]
    scaled = twins * torch.tensor([1.0, 1, 1, 3]).view(4, 1, 1)
    assert select_columns(gram([scaled]), 1).tolist() == [False] * 3 + [True]


def test_a_fan_in_below_the_count_uses_the_rank():
    weight = torch.randn(8, 1, 2, generator=torch.Generator().manual_seed(1))
    scores = leverage_scores(gram([weight]), 5)
    assert scores.sum() == pytest.approx(2)
    ranked = scores.argsort(descending=True)[:5]
    mask = select_columns(gram([weight]), 5)
    assert set(mask.nonzero()[:, 0].tolist()) == set(ranked.tolist())


@pytest.mark.parametrize('size', [1, 4])
def test_all_zero_weights_give_no_nan(size):
    products = gram([torch.zeros(size, 1, 3)])
    assert leverage_scores(products, 1).tolist() == [0.0] * size
    mask = select_columns(products, 1)
    assert mask.tolist() == [True] + [False] * (size - 1)
    assert residuals(products, mask).tolist() == [0.0] * size
