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

from ..dispatch.call import (
    COSTLY,
    FACTORIES,
    ZERO_FACTORIES,
    Call,
    bind,
    default_kind,
    is_composite,
)
from ..dispatch.nested import tensors_among
from ..dispatch.watch import Watch
from ..errors import ChexError
from ..graph.cost import NO_WINDOW, Geometry
from ..graph.graph import UnknownOp
from ..registry import keys_of
from .facts import Facts, LabelledWork
from .hollow import fill, is_hollow
from .labelling import Labelling
from .rules.finite import spoilt
from .rules.table import ZEROS
from .vanishing import Vanishing

# What torch and Python raise; a disagreement or a refusal passes through.
RULE_FAILS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def _entry(table: dict[Any, Callable], call: Call) -> Callable | None:
    """By overload, operator, its name, or what torch's schema calls it."""
    if call.func is None:  # an autograd function; no base stands for it
        keys = keys_of(call.key)[:2]
    else:
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
        self._is_paused = False
        self.computes_nothing = False  # on empty tensors

    # Operators -----------------------------------------------------------

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, packet = kwargs or {}, func.overloadpacket
        inputs = tensors_among(*args, *kwargs.values())
        if not self._needs_rule(packet, inputs):
            out = func(*args, **kwargs)
            if packet in FACTORIES:
                self.blank[out] = packet in ZERO_FACTORIES
            self._touch(func, inputs)
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
        try:
            self._apply(self.rule_of(call), call)
            self._pin_spoilt(call)
        except ChexError:
            raise
        except RULE_FAILS as error:
            # Its operator does not take labels (complex, sparse). What it has
            # tied so far is tied too much at worst.
            message = str(error).strip().partition('\n')[0]
            reason = f'the rule for {call.place} fails ({message})'
            self._unknown(call, reason)
            self._label_outs(call, None)
        self._pass_zeros(call)

    def _apply(self, rule: Callable | None, call: Call) -> None:
        seen, stand_ins = call, {}
        self.computes_nothing = is_hollow(call)
        if self.computes_nothing:
            seen, stand_ins = fill(call)
            for tensor, stand_in in stand_ins.items():
                self._pass_on(tensor, stand_in)
        labels = NotImplemented if rule is None else rule(self, seen)
        for tensor, stand_in in stand_ins.items():
            if stand_in in self.blank:
                self.blank[tensor] = True
        if labels is NotImplemented:
            self._unknown(call, f'no rule for {call.place}')
            labels = None
        self._label_outs(call, labels)

    def _pass_on(self, tensor: Tensor, stand_in: Tensor) -> None:
        """Tells of a stand-in what is known of an empty tensor."""
        if self.has_channels(tensor):
            self._labels[stand_in] = self.labels(tensor)
            self._vanishing.add(stand_in)  # what is nothing adds nothing
        if self.is_blank(tensor):
            self.blank[stand_in] = True

    def _label_outs(self, call: Call, labels) -> None:
        if not isinstance(labels, (tuple, list)):
            labels = (labels,) * len(call.outs)
        for tensor, label in zip(call.outs, labels):
            if isinstance(tensor, Tensor):
                self.label(tensor, label, call.writes(tensor))

    def _pin_spoilt(self, call: Call) -> None:
        for lost in spoilt(self, call):
            self.pin(
                lost,
                f'{call.place} makes a number that is not finite, or such a '
                'gradient, of a masked channel',
            )

    def rule_of(self, call: Call) -> Callable | None:
        """The rule that serves a call, if any."""
        return _entry(self._rules, call)

    def _own_rule(self, func, key) -> Callable | None:
        return self._rules.get(func) or self._rules.get(key)

    # Zeros ---------------------------------------------------------------

    def vanishes(self, tensor: Tensor) -> bool:
        """Whether it is zero wherever one of its channels is masked."""
        if self.is_named(tensor):
            return not self.holds_directions(tensor)
        return id(tensor) in self._entered or tensor in self._vanishing

    def _enter(self, inputs: tuple[Tensor, ...]) -> None:
        """Remembers what is zero before an operator writes into it."""
        self._entered = {id(t) for t in inputs if t in self._vanishing}
        for tensor in inputs:
            self._vanishing.note_write(tensor)

    def _pass_zeros(self, call: Call) -> None:
        """Notes what is zero in masked channels because its inputs are."""
        outs = tensors_among(call.outs)
        is_zero = any(map(self.has_channels, outs)) and self._keeps_zeros(call)
        self._entered = set()
        is_view = call.func is not None and call.func.is_view
        base = call.inputs[0] if is_view else None
        for out in outs:
            self._vanishing.discard(out)
            if is_zero and self.has_channels(out):
                self._vanishing.add(out, call.writes(out), base)

    def _keeps_zeros(self, call: Call) -> bool:
        """Whether outputs are zero where inputs are, as far as is known."""
        zeros = _entry(ZEROS, call)
        try:
            return zeros is not None and zeros(self, call)
        except RULE_FAILS:  # an operator that does not run on its probes
            return False

    @contextmanager
    def paused(self):
        """Runs a block without looking at its operators."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def _unknown(self, call: Call, reason: str) -> None:
        outs = tree_flatten(call.out)[0]
        self.facts.unknown[
            UnknownOp(
                call.op,
                call.module,
                tuple(tuple(t.shape) for t in call.inputs),
                tuple(tuple(t.shape) for t in outs if isinstance(t, Tensor)),
            )
        ] = None
        self.pin_inputs(call, reason)

    def pin_inputs(self, call: Call, reason: str) -> None:
        """Pins whatever channels enter a call."""
        for tensor in call.inputs:
            if self.has_channels(tensor):
                self.pin(self.labels(tensor), reason)

    def count(
        self,
        call: Call,
        each: int,
        rows: Tensor,
        columns: Tensor,
        geometry: Geometry = NO_WINDOW,
    ) -> None:
        """Notes multiply-adds, in the pass whose cost counts."""
        if self.is_counting and not self.computes_nothing:
            work = call.module, call.op, each, rows, columns, geometry
            self.facts.work.append(LabelledWork(*work))
