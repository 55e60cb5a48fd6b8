"""Which inactive channels come back, and how many.

Pure functions: all randomness comes from the generator that is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from ..registry import Table

# Each function returns the positions of `count` different candidates, given
# their residuals (float64, CPU) and a generator.
REGROWTHS = Table('regrowth policy')


def regrowth(key: str) -> Callable:
    """Registers a regrowth policy under the name that settings use."""
    return REGROWTHS.register(key)


def regrow_factor(progress: float, initial: float) -> float:
    """The share of a group that regrows; `initial` at 0, exactly 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * progress)) * initial


def log_probabilities(residuals: Tensor) -> Tensor:
    """log p_j of importance sampling, with p_j proportional to exp(e_j)."""
    return torch.log_softmax(residuals.double(), 0)


@regrowth('importance')
def importance(residuals: Tensor, count: int, generator: Generator) -> Tensor:
    """Draws without replacement, likelier what the retained do not span.

    The `count` largest of log p + Gumbel noise are such a draw; no
    probability is ever exponentiated, so none can underflow.
    """
    uniform = torch.rand(
        residuals.shape, dtype=torch.float64, generator=generator
    )
    noise = -torch.log(-torch.log(uniform))
    return (log_probabilities(residuals) + noise).topk(count).indices
