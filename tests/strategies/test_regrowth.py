"""How many come back, and that the draws follow the probabilities."""

import itertools
import math

import pytest
import torch

from chex_mm.strategies.regrowth import (
    REGROWTHS,
    log_probabilities,
    regrow_factor,
)


def test_regrow_factor_falls_from_its_initial_value_to_exactly_0():
    factors = [regrow_factor(step / 90, 0.3) for step in range(91)]
    assert factors[0] == 0.3 and factors[90] == 0.0
    assert factors[45] == pytest.approx(0.15)
    assert factors == sorted(factors, reverse=True)


def test_probabilities_equal_brute_force():
    left = torch.tensor([0.0, 0.5, 2.0, 1.0])
    weights = [math.exp(e) for e in left.tolist()]
    expected = [w / sum(weights) for w in weights]
    assert log_probabilities(left).exp().tolist() == pytest.approx(expected)


def test_probabilities_survive_residuals_that_overflow_exp():
    logs = log_probabilities(torch.tensor([0.0, 4000.0, 3999.0]))
    assert logs.isfinite().all()
    assert logs[1].exp() == pytest.approx(1 / (1 + math.exp(-1)))


def test_importance_draws_follow_the_sequential_probabilities():
    left = torch.tensor([0.0, 1.0, 2.0, 0.5], dtype=torch.float64)
    p = log_probabilities(left).exp().tolist()
    generator = torch.Generator().manual_seed(0)
    counts, draws = dict.fromkeys(range(4), 0), 4000
    for _ in range(draws):
        for j in REGROWTHS['importance'](left, 2, generator).tolist():
            counts[j] += 1
    for j in range(4):
        expected = p[j] + sum(
            p[i] * p[j] / (1 - p[i]) for i in range(4) if i != j
        )
        assert counts[j] / draws == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize('key', REGROWTHS)
def test_every_policy_draws_without_replacement(key):
    left = torch.tensor([0.0, 900.0, 0.0, 1e-9], dtype=torch.float64)
    for count, seed in itertools.product(range(5), range(3)):
        picks = [
            REGROWTHS[key](
                left, count, torch.Generator().manual_seed(seed)
            ).tolist()
            for _ in range(2)
        ]
        assert picks[0] == picks[1]
        assert len(set(picks[0])) == count
        assert set(picks[0]) <= {0, 1, 2, 3}


@pytest.mark.parametrize('key', REGROWTHS)
def test_every_policy_accepts_no_candidates(key):
    nothing = torch.zeros(0, dtype=torch.float64)
    assert len(REGROWTHS[key](nothing, 0, torch.Generator())) == 0
