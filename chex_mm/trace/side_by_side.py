"""A masked and a narrow model side by side, operator by operator.

The narrow one is right if it runs the operators of the masked one, on the
same numbers, to the same results. Discrete decisions are shared, so that
what is compared are numbers; random zeros are left out, as both could not
draw the same, and so are penalties on weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ..dispatch.nested import tensors_in
from ..dispatch.randomness import kept_random_state
from ..surgery.lockstep import Follow, Record
from .rules import STANDARDISERS, is_penalty
from .steps import OTHER_OPERATORS, RESULTS_APART, Step, not_finite, step_of

aten = torch.ops.aten
Run = Callable[[nn.Module], Any]


@dataclass(frozen=True)
class Mismatch:
    """What a narrow model does otherwise than the masked one.

    Attributes:
        reason: For the graph and for messages.
        run: Number of the run in which it showed.
        gap: How far results are apart, where nothing else differs.
        is_failure: Whether the narrow copy could not be run.
    """

    reason: str
    run: int = 0
    gap: float | None = None
    is_failure: bool = False


class _Stepwise:
    """Tells `step` of every operator that a cut must not change.

    Args:
        model: Whose modules run.
        is_detailed: Whether steps tell of results, which takes longer.
    """

    def __init__(self, model: nn.Module, is_detailed: bool, *arguments):
        super().__init__(*arguments)
        self._paths: list[str] = []
        self._unseen = 0  # modules that run and go ways of their own
        self._model, self._is_detailed = model, is_detailed

    def __enter__(self):
        self._handles = []
        for path, module in self._model.named_modules():
            self._handles += [
                module.register_forward_pre_hook(self._entering(path)),
                module.register_forward_hook(self._leave, always_call=True),
            ]
        return super().__enter__()

    def __exit__(self, *error):
        for handle in self._handles:
            handle.remove()
        return super().__exit__(*error)

    def _entering(self, path: str):
        def enter(module, args):
            self._paths.append(path)
            self._unseen += _has_ways_of_its_own(module)

        return enter

    def _leave(self, module, args, output):
        self._paths.pop()
        self._unseen -= _has_ways_of_its_own(module)
        if is_penalty(module):
            return tree_map_only(Tensor, torch.zeros_like, output)

    def run(self, op, args, kwargs):
        """Random zeros are left out."""
        if op is aten.native_dropout.default:
            return args[0].clone(), torch.ones_like(args[0], dtype=torch.bool)
        if op is aten.bernoulli_.float:
            return args[0].fill_(1)
        return super().run(op, args, kwargs)

    def ran(self, op, args, kwargs, result):
        if self._unseen:
            return
        module = self._paths[-1] if self._paths else ''
        call = op, args, kwargs, result
        step = step_of(call, module, self._is_detailed)
        if step is not None:
            self.step(step)


def _has_ways_of_its_own(module: nn.Module) -> bool:
    """Whether narrow ones run other operators, to results that are right.

    A penalty is none of the model's; a standardised kernel counts what it has
    lost as zeros.
    """
    return is_penalty(module) or type(module) in STANDARDISERS


class Note(_Stepwise, Record):
    """Notes the steps of a masked model, and what it decides."""

    def __init__(self, model: nn.Module, is_detailed: bool = False):
        super().__init__(model, is_detailed)
        self.steps: list[Step] = []

    def step(self, step: Step) -> None:
        self.steps.append(step)


class Check(_Stepwise, Follow):
    """Compares the steps of a narrow model with those of the masked one.

    Attributes:
        reason: The first difference, or None.
        has_drawn: Whether it drew for fewer channels than the masked model,
            which then had other luck: nothing can be compared any more.
    """

    def __init__(
        self, model: nn.Module, note: Note, is_detailed: bool = False
    ):
        super().__init__(model, is_detailed, note.decisions)
        self.reason: str | None = None
        self.has_drawn = False
        self._steps = iter(note.steps)

    @property
    def is_comparing(self) -> bool:
        """Whether a later difference would say something new."""
        return self.reason is None and not self.has_drawn

    def step(self, step: Step) -> None:
        if not self.is_comparing:
            return
        expected = next(self._steps, None)
        if expected and step.is_random and expected.is_random:
            self.has_drawn = expected.shapes != step.shapes
        if expected is None:
            self.reason = OTHER_OPERATORS
        elif not self.has_drawn:
            self.reason = expected.difference(step)

    def end(self) -> None:
        """To be called after the run: nothing may be left."""
        if self.is_comparing and next(self._steps, None) is not None:
            self.reason = OTHER_OPERATORS


def compare_runs(
    masked: nn.Module,
    narrow: nn.Module,
    runs: Iterable[Run],
    has_steps: bool = True,
    is_detailed: bool = False,
) -> Mismatch | None:
    """The first difference between a masked model and its narrow copy.

    Args:
        masked: The reference; its buffers change as in any run.
        narrow: What is compared with it.
        runs: Each runs a model and returns its results.
        has_steps: Whether operators are compared, and not only results.
        is_detailed: Whether the results of every operator are.

    Raises:
        MaskedFailed: From whatever the masked model raises.
        NarrowFailed: From what the narrow one alone does.
    """
    for number, run in enumerate(runs):
        note = Note(masked, is_detailed)
        try:
            expected = _collected(masked, run, note)
        except Exception as error:
            raise MaskedFailed(str(error)) from error
        check = Check(narrow, note, is_detailed)
        try:
            found = _collected(narrow, run, check)
        except Exception as error:
            raise NarrowFailed(number) from error
        check.end()
        if has_steps and check.reason is not None:
            return Mismatch(check.reason, number)
        if check.has_drawn or check.lost_at:
            continue
        reason, gap = _results_apart(expected, found)
        if reason is not None:
            return Mismatch(reason, number, gap)
    return None


def results_gap(model: nn.Module, other: nn.Module, run: Run) -> float:
    """The largest relative gap of two models that decide alike."""
    note = Note(model)
    expected = _collected(model, run, note)
    found = _collected(other, run, Check(other, note))
    if [t.shape for t in expected] != [t.shape for t in found]:
        return math.inf
    return max(map(relative_gap, expected, found), default=0.0)


class MaskedFailed(Exception):
    """The masked model itself raised: nothing was cut, so no cut is wrong."""


class NarrowFailed(Exception):
    """A narrow copy raised where the masked model did not.

    Attributes:
        run: Number of the run.
    """

    def __init__(self, run: int):
        super().__init__(f'run {run}')
        self.run = run


def _collected(model: nn.Module, run: Run, mode) -> list[Tensor]:
    with kept_random_state(), torch.no_grad(), _full_precision():
        with mode:
            return [t.detach().clone() for t in tensors_in(run(model))]


@contextmanager
def _full_precision():
    """Products of 32 bits on a GPU: of 19 they differ by what a cut does."""
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, allowed in zip(backends, before):
            backend.allow_tf32 = allowed


def _results_apart(
    expected: list[Tensor], found: list[Tensor]
) -> tuple[str | None, float | None]:
    """How what leaves two models differs, in words and in numbers."""
    shapes = [[t.shape for t in each] for each in (expected, found)]
    if shapes[0] != shapes[1]:
        return 'after a cut the results have other shapes', None
    for masked, narrow in zip(expected, found):
        if bool((~masked.isfinite() & narrow.isfinite()).any()):
            return not_finite('the model'), None
        gap = relative_gap(masked, narrow)
        if gap > tolerance(masked):
            return 'after a cut the model gives other results', gap
    return None, None


def tolerance(tensor: Tensor) -> float:
    """The relative gap that rounding explains in a tensor of this type."""
    if not tensor.is_floating_point():
        return 0.0
    return max(RESULTS_APART, 30 * torch.finfo(tensor.dtype).eps)


def relative_gap(masked: Tensor, narrow: Tensor) -> float:
    """Largest |a - b| / max |a| of what is finite in both."""
    both = masked.isfinite() & narrow.isfinite()
    a, b = masked[both].double(), narrow[both].double()
    if not len(a) or torch.equal(a, b):
        return 0.0
    return float((a - b).abs().max() / a.abs().max().clamp(min=1e-30))
