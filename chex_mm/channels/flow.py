"""Channel labels flow through a network while it runs.

A rule per operator says which labels come out and what they are tied to. What
no rule understands is pinned: not pruned rather than pruned wrongly.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor, inference_mode
from torch.utils._pytree import tree_flatten
from torch.utils.weak import WeakTensorKeyDictionary

from chex_mm.channels.call import (
    COSTLY,
    FACTORIES,
    ZERO_FACTORIES,
    Call,
    bind,
    default_kind,
    is_composite,
    numbers,
)
from chex_mm.channels.facts import Facts, LabelledWork, Numbers
from chex_mm.channels.graph import UnknownOp
from chex_mm.channels.labelling import Labelling
from chex_mm.channels.labels import without_repeats
from chex_mm.channels.rules.finite import spoilt
from chex_mm.channels.rules.table import ZEROS
from chex_mm.channels.vanishing import Vanishing
from chex_mm.channels.watch import Watch, tensors_among


def _entry(table: dict[Any, Callable], call: Call) -> Callable | None:
    """By overload, operator, its name, or what torch's schema calls it."""
    if call.func is None:
        return table.get(call.key)
    keys = call.func, call.key, call.func.name(), default_kind(call.func)
    return next(filter(None, map(table.get, keys)), None)


class Flow(Labelling, Watch):
    """Runs a model and writes down the facts about its channels.

    Args:
        tensors: Name to parameter or buffer of the model that runs.
        facts: Where to write. Labels that it holds already are used, so
            that a narrow model can be run with the labels it has kept.
        rules: Operator, overload or autograd function to rule.
        splits: How an operator that splits channels keeps them even, by
            place: a view ties 'slots' (default), 'rows' or pins ('pin'); a
            slice ties nothing (default) or 'slots'.
    """

    def __init__(
        self,
        tensors: dict[str, Tensor],
        facts: Facts,
        rules: dict[Any, Callable],
        splits: dict[str, str] | None = None,
    ):
        super().__init__(tensors, facts)
        self.splits = {} if splits is None else splits
        self.module = ''
        self.standardisers: frozenset[str] = frozenset()  # paths of modules
        self.is_counting = False
        self.running: Call | None = None  # the operator that has not returned
        self._rules = rules
        self._vanishing = Vanishing()
        self._entered: set[int] = set()  # were zero before they were written
        self._sums = WeakTensorKeyDictionary()  # over which channels
        self._is_paused = False

    # Operators -----------------------------------------------------------

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, packet = kwargs or {}, func.overloadpacket
        inputs = tensors_among(*args, *kwargs.values())
        if not self._needs_rule(packet, inputs):
            out = func(*args, **kwargs)
            if packet in FACTORIES:
                self.blank[out] = packet in ZERO_FACTORIES
            self._touch(func, inputs)
            if not self._is_paused and any(t in self._sums for t in inputs):
                self._pass_sums(self._call(func, args, kwargs, inputs), out)
            return out
        if is_composite(func) and not self._own_rule(func, packet):
            with self:  # inference mode does not take them apart by itself
                return func.decompose(*args, **kwargs)
        self.running = call = self._call(func, args, kwargs, inputs)
        if func._schema.is_mutable:
            self._enter(inputs)
        out = func(*args, **kwargs)
        self.running = None
        with inference_mode(False):  # labels outlive the mode
            self.flow(call, out)
            self._touch(func, inputs)
        return out

    def _needs_rule(self, packet, inputs: tuple[Tensor, ...]) -> bool:
        return not self._is_paused and (
            any(map(self.has_channels, inputs))
            # Costs as much where nothing may be cut.
            or (self.is_counting and packet in COSTLY)
        )

    def _call(self, func, args, kwargs, inputs: tuple[Tensor, ...]) -> Call:
        packet = func.overloadpacket
        arguments = bind(func, args, kwargs)
        name = f'{packet}.{func._overloadname}'
        return Call(name, packet, arguments, inputs, None, self.module, func)

    def _touch(self, func, inputs: tuple[Tensor, ...]) -> None:
        """What an operator writes into is blank no longer."""
        if self.blank and func._schema.is_mutable:
            for tensor in inputs:
                self.blank.pop(tensor, None)
                if tensor._base is not None:
                    self.blank.pop(tensor._base, None)

    def flow(self, call: Call, out) -> None:
        """Applies the rule of a call and labels what it returned."""
        call = replace(call, out=out)
        self.place = call.place
        rule = self.rule_of(call)
        labels = NotImplemented if rule is None else rule(self, call)
        if labels is NotImplemented:
            self._unknown(call)
            labels = None
        if not isinstance(labels, (tuple, list)):
            labels = (labels,) * len(call.outs)
        for tensor, label in zip(call.outs, labels):
            if isinstance(tensor, Tensor):
                self.label(tensor, label, call.writes(tensor))
        for lost in spoilt(self, call):
            self.pin(
                lost,
                f'{call.place} makes a number that is not finite, or such a '
                'gradient, of a masked channel',
            )
        self._pass_zeros(call)
        self._pass_sums(call, out)

    def rule_of(self, call: Call) -> Callable | None:
        """The rule that serves a call, if any."""
        return _entry(self._rules, call)

    def _own_rule(self, func, key) -> Callable | None:
        return self._rules.get(func) or self._rules.get(key)

    # Zeros and sums ------------------------------------------------------

    def vanishes(self, tensor: Tensor) -> bool:
        """Whether it is zero wherever one of its channels is masked."""
        return (
            self.is_named(tensor)
            or id(tensor) in self._entered
            or tensor in self._vanishing
        )

    def _enter(self, inputs: tuple[Tensor, ...]) -> None:
        """Remembers what is zero before an operator writes into it."""
        self._entered = {id(t) for t in inputs if t in self._vanishing}
        for tensor in inputs:
            self._vanishing.note_write(tensor)

    def _pass_zeros(self, call: Call) -> None:
        """Notes what is zero in masked channels because its inputs are."""
        outs = tensors_among(call.outs)
        zeros = _entry(ZEROS, call)
        is_zero = (
            zeros is not None
            and any(map(self.has_channels, outs))
            and zeros(self, call)
        )
        self._entered = set()
        is_view = call.func is not None and call.func.is_view
        base = call.inputs[0] if is_view else None
        for out in outs:
            self._vanishing.discard(out)
            if is_zero and self.has_channels(out):
                self._vanishing.add(out, call.writes(out), base)

    def add_up(self, out: Tensor, labels: Tensor) -> None:
        """Notes that `out` is a sum over channels which vanish.

        It is the same without a masked channel, unless it meets a number
        that counts them.
        """
        self._sums[out] = [without_repeats(labels)]

    def _pass_sums(self, call: Call, out) -> None:
        """What is made of a sum over channels is one as well."""
        summed = {id(v): v for t in call.inputs for v in self._sums.get(t, ())}
        summed = list(summed.values())
        if call.func is not None and default_kind(call.func) == 'pointwise':
            self._note_numbers(call, summed)
        if summed and call.key not in COSTLY:
            for tensor in tensors_among(out):
                self._sums[tensor] = summed

    def _note_numbers(self, call: Call, summed: list[Tensor]) -> None:
        """Notes numbers that meet channels, or a sum over them."""
        found = numbers(call, [t for t in call.inputs if t in self._sums])
        if not found:
            return
        labels = list(summed)
        for tensor in call.inputs:
            if self.is_weight(tensor):
                labels += [v for v in self.axes(tensor) if v is not None]
            elif self.has_channels(tensor) and not self.is_deferred(tensor):
                labels.append(without_repeats(self.labels(tensor)))
        if labels:
            self.facts.numbers.append(Numbers(call.place, found, labels))

    @contextmanager
    def paused(self):
        """Runs a block without looking at its operators."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def _unknown(self, call: Call) -> None:
        outs = tree_flatten(call.out)[0]
        self.facts.unknown[
            UnknownOp(
                call.op,
                call.module,
                tuple(tuple(t.shape) for t in call.inputs),
                tuple(tuple(t.shape) for t in outs if isinstance(t, Tensor)),
            )
        ] = None
        self.pin_inputs(call, f'no rule for {call.place}')

    def pin_inputs(self, call: Call, reason: str) -> None:
        """Pins whatever channels enter a call."""
        for tensor in call.inputs:
            if self.has_channels(tensor):
                self.pin(self.labels(tensor), reason)

    def count(self, call: Call, each: int, rows: Tensor, columns: Tensor):
        """Notes multiply-adds, in the pass whose cost counts."""
        if self.is_counting:
            self.facts.work.append(
                LabelledWork(call.module, call.op, each, rows, columns)
            )
