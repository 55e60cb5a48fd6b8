"""The number and spacing of exploration steps."""

import pytest

from chex_mm.strategies.schedule import fit_steps


def test_long_runs_get_all_steps_and_end_where_asked():
    steps = fit_steps(100_000)
    assert len(steps) == 90 and steps[-1] == 72_000 and steps[0] == 800


def test_shorter_runs_get_fewer_steps_far_enough_apart():
    steps = fit_steps(10_000)
    gaps = [b - a for a, b in zip((0, *steps), steps)]
    assert len(steps) == 24 and steps[-1] == 7200 and min(gaps) >= 300


def test_very_short_runs_get_4_even_steps():
    assert fit_steps(100) == (18, 36, 54, 72)
    assert fit_steps(4, end=1) == (1, 2, 3, 4)


def test_a_limit_below_the_minimum_wins():
    assert fit_steps(100, max_steps=2) == (36, 72)


@pytest.mark.parametrize('iterations', range(6, 400, 7))
def test_steps_are_different_iterations(iterations):
    steps = fit_steps(iterations, min_interval=20)
    assert len(set(steps)) == len(steps) and steps[0] >= 1
    assert steps[-1] == round(0.72 * iterations)


def test_fewer_iterations_than_steps():
    with pytest.raises(
        ValueError,
        match='4 exploration steps do not fit into the first 2 of 3 '
        'iterations; train for at least 6 iterations',
    ):
        fit_steps(3)


@pytest.mark.parametrize('wrong', [{'end': 0}, {'end': 2}, {'max_steps': 0}])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match='above 0 and up to 1'):
        fit_steps(100, **wrong)
