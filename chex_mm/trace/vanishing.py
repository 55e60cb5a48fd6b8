"""Which tensors are zero wherever one of their channels is masked.

A masked channel is zero in every parameter; how far the zeros reach depends
on the operators: relu keeps them, sigmoid does not. Where they reach a sum or
an L2 norm over channels, it is the same without the channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

SAMPLES = -2.5, 1.5  # in place of what no mask makes zero
APART = 0.375  # between two of these in one call


class Vanishing:
    """A set of tensors, each as it was when it was added.

    What is written into a tensor, or through another view of its memory,
    takes it out of the set.
    """

    def __init__(self):
        self._versions = WeakTensorKeyDictionary()
        self._writes = 0  # into tensors of inference mode, which count none

    def add(
        self,
        tensor: Tensor,
        is_written: bool = False,
        base: Tensor | None = None,
    ) -> None:
        """Adds a real or complex tensor; of indices zeros say nothing.

        Torch counts a write, and lets a view share its base's count, only
        after a dispatch mode has seen the operator.

        Args:
            tensor: An output of an operator.
            is_written: Whether the operator wrote into it.
            base: What the operator made a view of.
        """
        if tensor.is_floating_point() or tensor.is_complex():
            later = is_written and not tensor.is_inference()
            counted = tensor if base is None else base
            self._versions[tensor] = self._version(counted) + later

    def discard(self, tensor: Tensor) -> None:
        """Takes a tensor out, if it is in."""
        self._versions.pop(tensor, None)

    def __contains__(self, tensor: Tensor) -> bool:
        known = self._versions.get(tensor)
        return known is not None and known == self._version(tensor)

    def note_write(self, tensor: Tensor) -> None:
        """To be called before an operator writes into `tensor`."""
        self._writes += tensor.is_inference()

    def _version(self, tensor: Tensor) -> int:
        return self._writes if tensor.is_inference() else tensor._version


@dataclass(frozen=True)
class Probe:
    """Stands for a tensor: zero, or anything that no mask makes zero."""

    dtype: torch.dtype
    device: torch.device
    is_zero: bool
    shape: tuple[int, ...] = (1,)

    def filled(self, sample: float) -> Tensor:
        """Elements of that kind."""
        value = 0 if self.is_zero else sample
        if self.dtype is torch.bool:
            value = value > 0
        made = {'dtype': self.dtype, 'device': self.device}
        return torch.full(self.shape, value, **made)


@cache
def keeps_zeros(func: Callable, arguments: tuple) -> bool:
    """Whether an operator on elements makes zeros of zeros.

    It is tried out, on numbers of both signs for what is not zero.

    Args:
        func: The operator's overload.
        arguments: (name, value) pairs, with `Probe`s in place of tensors.
    """
    return all(_is_zero(func, arguments, sample) for sample in SAMPLES)


def _is_zero(func: Callable, arguments: tuple, sample: float) -> bool:
    given = {
        name: value.filled(sample * (1 + APART * number))
        if isinstance(value, Probe)
        else value
        for number, (name, value) in enumerate(arguments)
    }
    out = func(**given)
    outs = out if isinstance(out, (tuple, list)) else (out,)
    return not any(bool((each != 0).any()) for each in outs)
