"""Whether a narrow model gives the outputs of the masked one.

Both take the same decisions, so that what is compared are numbers, and the
difference is one of rounding exactly if the surgery was right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Number
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_flatten_with_path

from ..dispatch.randomness import fixed_random_state
from ..errors import ChexError
from .lockstep import Follow, Record, gap


@dataclass(frozen=True)
class Difference:
    """How far the outputs of two models are apart.

    Attributes:
        max_abs: Largest |a - b| over all outputs.
        max_rel: Largest |a - b| / max |a| of one output.
        decisions: Decisions that the narrow model took over.
        flipped: Those that it would have taken differently.
        at_decisions: Largest |a - b| / max |a| of a tensor that was decided
            on; it shows what an agreed decision would hide.
        lost_at: First decision at which the models ran different operators,
            in words, or None. From there on each decided for itself.
    """

    max_abs: float
    max_rel: float
    decisions: int = 0
    flipped: int = 0
    at_decisions: float = 0.0
    lost_at: str | None = None

    @property
    def aligned(self) -> bool:
        """Whether both models ran the same deciding operators."""
        return self.lost_at is None

    def __str__(self):
        text = (
            f'largest difference {self.max_abs:.1e} ({self.max_rel:.1e} '
            f'relative); {self.decisions} shared decisions, {self.flipped} '
            f'flipped, on values {self.at_decisions:.1e} apart'
        )
        return text if self.aligned else f'{text}; lost at {self.lost_at}'


def compare(
    masked: nn.Module, narrow: nn.Module, run: Callable[[nn.Module], Any]
) -> Difference:
    """Runs both models and compares their outputs.

    Both run in eval mode, without gradients, on the same random numbers of
    torch, numpy and Python;
    modes and random states are put back.

    Args:
        masked: The reference.
        narrow: The model to compare with it.
        run: Runs a model and returns tensors and numbers, nested in dicts,
            lists and tuples.

    Raises:
        ChexError: The outputs differ in structure, type or shape.
    """
    record = Record()
    with _evaluation(masked), record:
        expected = run(masked)
    follow = Follow(record.decisions)
    with _evaluation(narrow), follow:
        found = run(narrow)
    gaps = [(0.0, 0.0), *_output_gaps(expected, found)]
    return Difference(
        max_abs=max(absolute for absolute, _ in gaps),
        max_rel=max(relative for _, relative in gaps),
        decisions=follow.shared,
        flipped=follow.flipped,
        at_decisions=follow.apart,
        lost_at=follow.lost_at,
    )


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Eval mode, no gradients, fixed random numbers; all put back after."""
    training = {module: module.training for module in model.modules()}
    devices = {p.device for p in model.parameters() if p.is_cuda}
    try:
        with (
            torch.random.fork_rng(devices),
            fixed_random_state(),
            torch.no_grad(),
        ):
            for device in devices:  # others stay as they are
                torch.cuda.default_generators[device.index].manual_seed(0)
            model.eval()
            yield
    finally:
        for module, mode in training.items():
            module.training = mode


def _output_gaps(expected: Any, found: Any) -> list[tuple[float, float]]:
    """Absolute and relative difference of every output."""
    expected, structure = tree_flatten_with_path(expected)
    found, other = tree_flatten_with_path(found)
    if structure != other:
        raise ChexError(
            'The outputs differ in structure: the masked model returns '
            f'{[keystr(path) for path, _ in expected]}, the narrow one '
            f'{[keystr(path) for path, _ in found]}.'
        )
    return [
        _output_gap(keystr(path) or 'of the model', a, b)
        for (path, a), (_, b) in zip(expected, found)
    ]


def _output_gap(name: str, a: Any, b: Any) -> tuple[float, float]:
    """Absolute and relative difference of one output."""
    for leaf in (a, b):
        if not (leaf is None or isinstance(leaf, (Tensor, Number, str))):
            raise ChexError(
                f'Output {name} is a {type(leaf).__name__}; let run() return '
                'its tensors.'
            )
    if not all(isinstance(leaf, (Tensor, Number)) for leaf in (a, b)):
        return (0.0, 0.0) if a == b else (math.inf, math.inf)
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    if a.shape != b.shape:
        raise ChexError(
            f'Output {name} has shape {tuple(a.shape)} in the masked model '
            f'and {tuple(b.shape)} in the narrow one.'
        )
    return gap(a, b)
