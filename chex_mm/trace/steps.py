"""One operator of a run, and whether that of another run is the same.

A step holds what no cut of channels may change, and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..dispatch.nested import tensors_among, tensors_in
from ..surgery.lockstep import RANDOM

aten = torch.ops.aten
# Arguments that are lengths: a cut may change them, and what they lead to is
# seen in the results.
LENGTHS = frozenset(
    'size repeats start end length split_size split_sizes normalized_shape N '
    'C HxW group groups storage_offset index pad input_sizes'.split()
)
# How memory lies decides whether torch runs these, and one channel more or
# less may decide that.
LAYOUT = {
    aten.view,
    aten._unsafe_view,
    aten._reshape_alias,
    aten.clone,
    aten.alias,
    aten.detach,
    aten.lift_fresh,
    aten.expand,
    aten.unsqueeze,
    aten.squeeze,
    aten.empty,
    aten.empty_like,
    aten.empty_strided,
    aten.new_empty,
    aten.new_empty_strided,
    aten.copy_,
    aten.as_strided,
    aten.as_strided_,
    aten.t,
}
# A linear layer is one or the other of these.
PRODUCTS = {
    aten.mm,
    aten.addmm,
    aten.bmm,
    aten.baddbmm,
    aten.add,
    aten.add_,
    aten.transpose,
}
NUMBERS_APART = 1e-3  # rounding; a cut changes a count by a tenth and more
RESULTS_APART = 1e-4  # rounding of what comes out; see `Comparison`
OTHER_OPERATORS = (
    'a size is compared in Python: after a cut other operators run'
)


@dataclass(frozen=True)
class Result:
    """What is told of a tensor that came out.

    Attributes:
        shape: Its shape.
        total: Its sum; 0 for integers.
        absolute: The sum of its absolute values; 0 for integers.
        is_finite: Whether all of it is.
    """

    shape: tuple[int, ...]
    total: float = 0.0
    absolute: float = 0.0
    is_finite: bool = True

    @classmethod
    def of(cls, tensor: Tensor) -> Result:
        shape = tuple(tensor.shape)
        if not tensor.is_floating_point():
            return cls(shape)
        values = tensor.detach().double()
        total, absolute = float(values.sum()), float(values.abs().sum())
        return cls(shape, total, absolute, bool(values.isfinite().all()))

    def is_close(self, other: Result) -> bool:
        """Whether rounding explains the difference; narrow ones may differ."""
        apart = RESULTS_APART * self.absolute
        return self.shape != other.shape or (
            _is_near(self.total, other.total, apart)
            and _is_near(self.absolute, other.absolute, apart)
        )


@dataclass(frozen=True)
class Step:
    """One operator of a run.

    Attributes:
        place: The operator and the module it ran in.
        numbers: What it was given in Python, lengths left out.
        results: Of every tensor that came out; () if not asked for.
        is_random: Whether it draws.
    """

    place: str
    numbers: tuple[float, ...]
    results: tuple[Result, ...] = ()
    is_random: bool = False

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the results."""
        return [result.shape for result in self.results]

    def difference(self, other: Step) -> str | None:
        """What a narrow model does otherwise in its place, in words."""
        if self.place != other.place:
            return OTHER_OPERATORS
        if not _are_close(self.numbers, other.numbers):
            return f'{self.place} computes with another number after a cut'
        for masked, narrow in zip(self.results, other.results):
            if narrow.is_finite and not masked.is_finite:
                return not_finite(self.place)
            if narrow.is_finite and not masked.is_close(narrow):
                return f'{self.place} gives other values after a cut'
        return None


def step_of(call: tuple, module: str, is_detailed: bool) -> Step | None:
    """The step that an operator is; None if memory decides that it ran.

    Args:
        call: Operator or autograd function, arguments, those by name, result.
        module: Path of the module that called it.
        is_detailed: Whether to tell of results, and of numbers in tensors.
    """
    op, args, kwargs, result = call
    packet = getattr(op, 'overloadpacket', None)
    if packet in LAYOUT:
        return None
    numbers = _numbers(op, args, kwargs)
    if is_detailed:
        numbers += _scalars(args)
    if packet in PRODUCTS and not numbers:
        return None
    is_random = RANDOM in getattr(op, 'tags', ())
    tensors = tensors_in(result) if is_detailed or is_random else ()
    return Step(
        f'{_name(op)} in {module or "the model"}',
        numbers,
        tuple(map(Result.of, tensors)),
        is_random,
    )


def not_finite(place: str) -> str:
    """The reason for a channel whose zeros become NaN or infinity."""
    return f'{place} makes a number that is not finite of a masked channel'


def _name(op) -> str:
    if hasattr(op, 'overloadpacket'):
        return f'{op.overloadpacket}.{op._overloadname}'
    return f'{op.__module__}.{op.__name__}'


def _numbers(op, args, kwargs) -> tuple[float, ...]:
    """What an operator is given in Python that is no length."""
    schema = getattr(op, '_schema', None)
    if schema is None:  # of an autograd function integers may be widths
        leaves = [*args, *kwargs.values()]
        return tuple(v for v in leaves if isinstance(v, float))
    names = [argument.name for argument in schema.arguments]
    given: dict[str, Any] = {**dict(zip(names, args)), **kwargs}
    found: list[float] = []
    for name, value in given.items():
        if name not in LENGTHS:
            values = value if isinstance(value, (list, tuple)) else [value]
            found += [v for v in values if isinstance(v, (int, float))]
    return tuple(found)


def _scalars(args) -> tuple[float, ...]:
    """Tensors of no dimension, which may hold a number that was counted."""
    return tuple(
        float(tensor)
        for tensor in tensors_among(*args)
        if tensor.ndim == 0 and not tensor.is_complex()
    )


def _are_close(expected: tuple, found: tuple) -> bool:
    return len(expected) == len(found) and all(
        _is_near(a, b, NUMBERS_APART * abs(a)) for a, b in zip(expected, found)
    )


def _is_near(a: float, b: float, apart: float) -> bool:
    is_same = a == b or (math.isnan(a) and math.isnan(b))
    return is_same or abs(a - b) <= apart
