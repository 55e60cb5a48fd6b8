"""Whether an operator makes numbers of zeros, and gradients too.

It is tried out: 0 / 0 and log(0) are no numbers, and the gradient of sqrt(0)
is infinite. NaN in one channel spreads, since NaN * 0 is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from .vanishing import APART, Probe

SAMPLES = -2.5, 0.5, 1.5  # ordinary numbers


@cache
def spoils_zeros(
    func: Callable, arguments: tuple, with_gradients: bool = True
) -> bool:
    """Whether it is finite on ordinary numbers and not on zeros.

    Args:
        func: The operator's overload.
        arguments: (name, value) pairs, with `Probe`s in place of tensors.
        with_gradients: Whether gradients have to be finite as well.
    """
    # No gradients are recorded below a dispatch mode: another thread has none.
    with ThreadPoolExecutor(1) as thread:
        task = thread.submit(_spoils, func, arguments, with_gradients)
        return task.result()


def _spoils(func: Callable, arguments: tuple, with_gradients: bool) -> bool:
    ordinary = tuple(
        (name, replace(v, is_zero=False) if isinstance(v, Probe) else v)
        for name, v in arguments
    )
    return any(
        _is_finite(func, ordinary, sample, with_gradients)
        and not _is_finite(func, arguments, sample, with_gradients)
        for sample in SAMPLES
    )


def _is_finite(
    func: Callable, arguments: tuple, sample: float, with_gradients: bool
) -> bool:
    """Of the results and of the gradients of all that has some."""
    given, leaves = {}, []
    for number, (name, value) in enumerate(arguments):
        if isinstance(value, Probe):
            value = value.filled(sample * (1 + APART * number))
            if with_gradients and value.is_floating_point():
                leaves.append(value.requires_grad_())
                value = value.clone()  # may be written into
        given[name] = value
    out = func(**given)
    outs = out if isinstance(out, (tuple, list)) else (out,)
    outs = [each for each in outs if isinstance(each, Tensor)]
    gradients = _gradients(outs, leaves) if with_gradients else []
    return all(map(_all_finite, (*outs, *gradients)))


def _gradients(outs: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    total = sum(each.sum() for each in outs if each.requires_grad)
    if not isinstance(total, Tensor):
        return []
    try:
        found = torch.autograd.grad(total, leaves, allow_unused=True)
    except RuntimeError:  # no derivative is known, so none is trained
        return []
    return [each for each in found if each is not None]


def _all_finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())
