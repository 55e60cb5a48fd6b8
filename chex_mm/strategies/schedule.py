"""At which iterations of a run the structure changes.

A pure function of the run's length: there is nothing to save.
"""

from __future__ import annotations


def fit_steps(
    iterations: int,
    max_steps: int = 90,
    end: float = 0.72,
    min_interval: int = 300,
    min_steps: int = 4,
) -> tuple[int, ...]:
    """Iterations (from 1) after which a step runs, evenly spaced.

    Args:
        iterations: Length of the run.
        end: The share of the run after which the structure is fixed.
        min_interval: Iterations that training needs between two steps;
            short runs get fewer steps, but `min_steps` in any case.
    """
    if not 0 < end <= 1 or min(max_steps, min_interval, min_steps) < 1:
        raise ValueError(
            f'max_steps={max_steps}, min_interval={min_interval} and '
            f'min_steps={min_steps} must be at least 1, and end={end} a '
            'share of the run above 0 and up to 1.'
        )
    last = round(end * iterations)
    steps = min(max_steps, max(min_steps, last // min_interval))
    if last < steps:
        raise ValueError(
            f'{steps} exploration steps do not fit into the first {last} of '
            f'{iterations} iterations; train for at least '
            f'{-int(-steps // end)} iterations or ask for fewer steps.'
        )
    return tuple(round(i * last / steps) for i in range(1, steps + 1))
