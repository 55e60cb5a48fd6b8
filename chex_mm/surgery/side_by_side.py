"""A masked and a narrow model side by side, operator by operator.

The narrow one is right if it runs the operators of the masked one, on the
same numbers, to the same results. Discrete decisions are shared, so that
what is compared are numbers; random zeros are left out, as both could not
draw the same, and so are penalties on weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ..channels.rules import PENALTIES
from ..channels.trace import kept_random_state, tensors_in
from ..channels.watch import tensors_among
from .lockstep import RANDOM, Follow, Record

aten = torch.ops.aten
Run = Callable[[nn.Module], Any]

# Arguments that are lengths: a cut may change them, and what they lead to is
# seen in the results.
LENGTHS = frozenset(
    'size repeats start end length split_size split_sizes normalized_shape N '
    'C HxW group groups storage_offset index pad'.split()
)
# How memory lies decides whether torch runs these, and one channel more or
# less may decide that.
LAYOUT = {
    aten.view,
    aten._unsafe_view,
    aten._reshape_alias,
    aten.clone,
    aten.alias,
    aten.lift_fresh,
    aten.expand,
    aten.unsqueeze,
    aten.squeeze,
    aten.empty,
    aten.empty_like,
    aten.copy_,
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
RESULTS_APART = 3e-4  # the same for what leaves the model
OTHER_OPERATORS = (
    'a size is compared in Python: after a cut other operators run'
)


@dataclass(frozen=True)
class Mismatch:
    """What a narrow model does otherwise than the masked one.

    Attributes:
        reason: For the graph and for messages.
        run: Number of the run in which it showed.
        gap: How far results are apart, where nothing else differs.
    """

    reason: str
    run: int = 0
    gap: float | None = None


@dataclass(frozen=True)
class Step:
    """One operator of a run.

    Attributes:
        place: The operator and the module it ran in.
        numbers: What it was given in Python, lengths left out.
        results: Per tensor that came out its shape, its sum, the sum of its
            absolute values and whether it is finite; () if not asked for.
        is_random: Whether it draws.
    """

    place: str
    numbers: tuple[float, ...]
    results: tuple = ()
    is_random: bool = False


class _Stepwise:
    """Tells `step` of every operator that a cut must not change.

    Args:
        model: Whose modules run.
        is_detailed: Whether steps tell of results, which takes longer.
    """

    def __init__(self, model: nn.Module, is_detailed: bool, *arguments):
        super().__init__(*arguments)
        self._paths: list[str] = []
        self._penalties = 0  # modules that run and are none of the model's
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
            self._penalties += isinstance(module, tuple(PENALTIES))

        return enter

    def _leave(self, module, args, output):
        self._paths.pop()
        if isinstance(module, tuple(PENALTIES)):
            self._penalties -= 1
            return tree_map_only(Tensor, torch.zeros_like, output)

    def run(self, op, args, kwargs):
        """Random zeros are left out."""
        if op is aten.native_dropout.default:
            return args[0].clone(), torch.ones_like(args[0], dtype=torch.bool)
        if op is aten.bernoulli_.float:
            return args[0].fill_(1)
        return super().run(op, args, kwargs)

    def ran(self, op, args, kwargs, result):
        packet = getattr(op, 'overloadpacket', None)
        if packet in LAYOUT or self._penalties:
            return
        numbers = _numbers(op, args, kwargs)
        if self._is_detailed:
            numbers += _scalars(args)
        if packet in PRODUCTS and not numbers:
            return
        path = self._paths[-1] if self._paths else ''
        place = f'{_name(op)} in {path or "the model"}'
        is_random = RANDOM in getattr(op, 'tags', ())
        results = ()
        if self._is_detailed or is_random:
            results = tuple(map(_result, tensors_in(result)))
        self.step(Step(place, numbers, results, is_random))


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
            self.has_drawn = _shapes(expected) != _shapes(step)
        if not self.has_drawn:
            self.reason = _difference(expected, step)

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
        Exception: Whatever the models raise, `NarrowFailed` from what the
            narrow one does.
    """
    for number, run in enumerate(runs):
        note = Note(masked, is_detailed)
        expected = _collected(masked, run, note)
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


class NarrowFailed(Exception):
    """A narrow copy raised where the masked model did not.

    Attributes:
        run: Number of the run.
    """

    def __init__(self, run: int):
        super().__init__(f'run {run}')
        self.run = run


def _collected(model: nn.Module, run: Run, mode) -> list[Tensor]:
    with kept_random_state(), torch.no_grad():
        with mode:
            return [t.detach().clone() for t in tensors_in(run(model))]


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
    given = {**dict(zip(names, args)), **kwargs}
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


def _shapes(step: Step) -> list[tuple[int, ...]]:
    return [result[0] for result in step.results]


def _result(tensor: Tensor) -> tuple:
    if not tensor.is_floating_point():
        return (tuple(tensor.shape),)
    values = tensor.detach().double()
    return (
        tuple(tensor.shape),
        float(values.sum()),
        float(values.abs().sum()),
        bool(values.isfinite().all()),
    )


def _difference(expected: Step | None, found: Step) -> str | None:
    if expected is None or expected.place != found.place:
        return OTHER_OPERATORS
    if not _are_close(expected.numbers, found.numbers):
        return f'{found.place} computes with another number after a cut'
    for masked, narrow in zip(expected.results, found.results):
        if len(masked) > 1 and not masked[3] and narrow[3]:
            return not_finite(found.place)
        if len(masked) > 1 and masked[0] == narrow[0]:
            apart = RESULTS_APART * masked[2]
            if any(abs(masked[i] - narrow[i]) > apart for i in (1, 2)):
                return f'{found.place} gives other values after a cut'
    return None


def not_finite(place: str) -> str:
    """The reason for a channel whose zeros become NaN or infinity."""
    return f'{place} makes a number that is not finite of a masked channel'


def _are_close(expected: tuple, found: tuple) -> bool:
    return len(expected) == len(found) and all(
        a == b
        or (a != a and b != b)
        or math.isclose(a, b, rel_tol=NUMBERS_APART)
        for a, b in zip(expected, found)
    )


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
