"""Makes one model take the discrete decisions of another.

Detectors decide on floats (top-k, thresholds, NMS), and rounding flips what
is nearly equal. `Record` notes what every operator of one run decided,
`Follow` hands it out in a second run of the same operators. A kernel inside
an autograd function is one operator: which points it sampled or grouped no
other operator shows.

Example: scores 0.70000 and 0.69999 are sorted in the first run, and come out
as 0.69999 and 0.70000 in the second. Without help the second picks the other
box; under `Follow` it picks the box of the first, counts one decision that it
would have taken otherwise (`flipped`) and how far the scores are apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..dispatch.functions import wrapped_functions
from ..dispatch.nested import tensors_among
from ..dispatch.watch import Watch

# Operators that decide although they return floats.
STEPS = frozenset(
    getattr(torch.ops.aten, name)
    for name in (
        'eq_ ne_ lt_ le_ gt_ ge_ round round_ floor floor_ ceil ceil_ trunc '
        'trunc_ sign sign_'
    ).split()
)
# Results that belong together: topk, sort, max...
CHOSEN = ['values', 'indices']
# What follows data or chance, whatever goes in: kernels of extensions write
# through pointers, where nothing sees it, and then select with the result.
DATA_DEPENDENT = torch.Tag.dynamic_output_shape
RANDOM = torch.Tag.nondeterministic_seeded


@dataclass(eq=False)
class Decision:
    """One operator call with a discrete result.

    Attributes:
        op: The operator, or the autograd function.
        shapes: Shapes of all tensors that went in.
        floats: The floating ones of them, as they went in.
        outputs: Flat results; None in place of those that decide nothing.
    """

    op: Any
    shapes: list[torch.Size]
    floats: list[Tensor]
    outputs: list[Any]

    @property
    def is_one(self) -> bool:
        """Whether anything was decided."""
        return any(output is not None for output in self.outputs)

    def is_like(self, other: Decision) -> bool:
        """Whether both decide on the same things, not on cut channels."""
        return self.shapes == other.shapes and (
            self._may_differ_in_size
            or all(
                getattr(mine, 'shape', None) == getattr(theirs, 'shape', None)
                for mine, theirs in zip(self.outputs, other.outputs)
            )
        )

    @property
    def _may_differ_in_size(self) -> bool:
        """Whether the data decide it, and nothing else has to fit."""
        if hasattr(self.op, 'tags'):
            return DATA_DEPENDENT in self.op.tags
        return None not in self.outputs

    def is_equal(self, other: Decision) -> bool:
        """Whether both decided the same."""
        return all(
            torch.equal(mine, theirs)
            if torch.is_tensor(mine)
            else mine == theirs
            for mine, theirs in zip(self.outputs, other.outputs)
        )


class _Decisions(Watch):
    """Runs every operator and hands its decision, if any, to `decided`.

    `run` runs an operator and `ran` is told of it; both may be overridden.
    """

    def __enter__(self):
        self._functions = wrapped_functions(self._call)
        self._functions.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        self._functions.__exit__(*error)
        return super().__exit__(*error)

    def _call(self, function, forward, args, kwargs):
        """What an autograd function returns beside floats is a decision."""
        given = _tensors((args, kwargs))
        floats = [t for t in given if t.is_floating_point()]
        shapes = [t.shape for t in given]
        result = forward(*args, **kwargs)
        outputs = _chosen(function, result)
        decision = Decision(function, shapes, floats, outputs)
        with _disable_current_modes():  # as in __torch_dispatch__
            if floats and decision.is_one:
                result = self.decided(decision, args, kwargs, result)
            self.ran(function, args, kwargs, result)
        return result

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = self._decide(op, args, kwargs)
        self.ran(op, args, kwargs, result)
        return result

    def run(self, op, args, kwargs):
        """What the operator gives."""
        return op(*args, **kwargs)

    def ran(self, op, args, kwargs, result) -> None:
        """Takes note of an operator that has run.

        Args:
            op: The operator's overload, or an autograd function.
            args: What went in, as it is after the operator.
            kwargs: The same by name.
            result: What came out, decided.
        """

    def _decide(self, op, args, kwargs):
        given = tensors_among(*args, *kwargs.values())
        floats = [t for t in given if t.is_floating_point()]
        if op._schema.is_mutable:
            floats = [t.clone() for t in floats]
        shapes = [t.shape for t in given]
        result = self.run(op, args, kwargs)
        if not (floats or DATA_DEPENDENT in op.tags or RANDOM in op.tags):
            return result
        decision = Decision(op, shapes, floats, _chosen(op, result))
        if not decision.is_one:
            return result
        return self.decided(decision, args, kwargs, result)


def _forced(recorded: Decision, op, args, kwargs, result):
    """A result with the recorded decision in place of the own one."""
    own, structure = tree_flatten(result)
    forced = [
        mine if noted is None else noted
        for mine, noted in zip(own, recorded.outputs)
    ]
    schema = getattr(op, '_schema', None)
    if schema and [r.name for r in schema.returns] == CHOSEN:
        forced[0] = _gather(op, args, kwargs, forced[1])
    if not (schema and schema.is_mutable):
        return tree_unflatten(forced, structure)
    for mine, value in zip(own, forced):
        mine.copy_(value)  # the caller holds this very tensor
    return result


class Record(_Decisions):
    """Notes every decision."""

    def __init__(self):
        super().__init__()
        self.decisions: list[Decision] = []

    def decided(self, decision, args, kwargs, result):
        """Keeps a copy."""
        decision.floats = [t.clone() for t in decision.floats]
        decision.outputs = [
            leaf.clone() if torch.is_tensor(leaf) else leaf
            for leaf in decision.outputs
        ]
        self.decisions.append(decision)
        return result


class Follow(_Decisions):
    """Hands out recorded decisions as long as the operators are the same.

    Attributes:
        shared: Decisions handed out.
        flipped: Those that the model had taken differently.
        apart: Largest relative gap of what was decided on.
        lost_at: First decision at which the operators differ, or None.
    """

    def __init__(self, decisions: list[Decision]):
        super().__init__()
        self.ahead = decisions[::-1]
        self.total = len(decisions)
        self.shared = self.flipped = 0
        self.apart = 0.0
        self.lost_at: str | None = None

    def __exit__(self, *error):
        if self.ahead:
            self._lose('the end')
        return super().__exit__(*error)

    def decided(self, decision, args, kwargs, result):
        """The recorded decision in place of the own one."""
        if not self.ahead or self.ahead[-1].op is not decision.op:
            self._lose(decision.op)
        if self.lost_at:
            return result
        recorded = self.ahead.pop()
        if not recorded.is_like(decision):
            return result
        self._count(recorded, decision)
        return _forced(recorded, decision.op, args, kwargs, result)

    def _count(self, recorded: Decision, own: Decision) -> None:
        gaps = map(gap, recorded.floats, own.floats)
        self.apart = max(self.apart, *(relative for _, relative in gaps), 0.0)
        self.shared += 1
        self.flipped += not recorded.is_equal(own)

    def _lose(self, found: Any) -> None:
        expected = self.ahead[-1].op if self.ahead else 'the end'
        self.lost_at = self.lost_at or (
            f'decision {self.total - len(self.ahead)}: {expected} in the '
            f'first run, {found} in the second'
        )


def gap(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Largest |a - b|, and the same over max |a|; NaN makes it infinite."""
    a, b = a.double(), b.double()
    apart = (a - b).abs().masked_fill(a == b, 0)  # equal infinities too
    if not apart.any():
        return 0.0, 0.0
    largest = float(apart.nan_to_num(nan=math.inf, posinf=math.inf).max())
    scale = float(a.nan_to_num(0, 0, 0).abs().max())
    return largest, largest / scale if scale else math.inf


def _leaves(nest: Any) -> list[Any]:
    return [nest] if torch.is_tensor(nest) else tree_flatten(nest)[0]


def _tensors(nest: Any) -> list[Tensor]:
    return [leaf for leaf in _leaves(nest) if torch.is_tensor(leaf)]


def _chosen(op: Any, result: Any) -> list[Any]:
    return [_discrete(op, leaf) for leaf in _leaves(result)]


def _discrete(op: Any, leaf: Any) -> Any:
    """The result if it is a decision, else None."""
    if torch.is_tensor(leaf) and (
        leaf.is_floating_point() or leaf.is_complex()
    ):
        packet = getattr(op, 'overloadpacket', None)  # not of a function
        return leaf if packet in STEPS else None
    return None if isinstance(leaf, float) else leaf


def _gather(op: Any, args: tuple, kwargs: dict, indices: Tensor) -> Tensor:
    """What topk, sort, max... would return as values at `indices`."""
    given = {
        each.name: kwargs.get(each.name, each.default_value)
        for each in op._schema.arguments
    }
    given.update(zip(given, args))
    source, dim = given['self'], given.get('dim')
    if dim is None:  # of the whole tensor
        return source.flatten()[indices]
    if indices.dim() == source.dim():
        return source.gather(dim, indices)
    return source.gather(dim, indices.unsqueeze(dim)).squeeze(dim)
