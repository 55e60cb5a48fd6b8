"""How one operator is run on labels written by hand.

A case says what goes in, what comes out and which labels are tied or pinned;
label 0 is no channel, parameters are labelled by their place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor

import chex_mm.packages.mmcv.maps  # noqa: F401
import chex_mm.packages.mmdet  # noqa: F401  (fills the tables)
from chex_mm.dispatch.call import Call, bind
from chex_mm.graph.groups import Role
from chex_mm.trace.facts import Facts
from chex_mm.trace.flow import Flow
from chex_mm.trace.grouping import Components
from chex_mm.trace.labels import spread
from chex_mm.trace.opaque import watched_functions
from chex_mm.trace.rules import RULES


@dataclass(frozen=True)
class Given:
    """A tensor that carries `labels` along `dim`; random without `value`."""

    labels: tuple = (1, 2, 3, 4)
    shape: tuple = (2, 4, 6, 6)
    dim: int = 1
    value: Any = None

    def enter(self, flow, _) -> Tensor:
        tensor = torch.rand(self.shape) + 0.1
        if self.value is not None:
            tensor.copy_(self.value)
        labels = torch.tensor(self.labels)
        flow.label(tensor, spread(labels, self.shape, self.dim))
        return tensor


@dataclass(frozen=True)
class Parameter:
    """Parameter number n: labels n00.. along dim 0, n50.. along dim 1.

    One of three dimensions has labels n80.. along the last.
    """

    shape: tuple

    def enter(self, flow, number) -> Tensor:
        tensor = torch.rand(self.shape)
        name = f'parameter{number}'
        flow._names[id(tensor)] = name, tensor
        for dim, first in self.first_labels(number):
            flow.facts.size = first
            flow.facts.space(name, dim, Role.VALUE, self.shape[dim])
        return tensor

    def first_labels(self, number):
        """Dimensions that have labels, and the first label there."""
        known = 3 if len(self.shape) == 3 else 2
        return [
            (dim, 100 * number + (0, 50, 80)[dim])
            for dim in range(len(self.shape[:known]))
        ]


@dataclass(frozen=True)
class Plain:
    """A tensor without channels."""

    value: Any

    def enter(self, *_) -> Tensor:
        return torch.as_tensor(self.value)


@dataclass(frozen=True)
class Case:
    """One call and everything that its rule should say.

    Attributes:
        key: Of the table of rules.
        run: The call; an operator that this machine cannot run is given by
            `unrun`.
        inputs: What it takes.
        out: Labels along `dim` of the output, a list of these for several
            outputs, or None for no channels.
        ties: Labels that become one channel.
        pins: Labels that may not be cut.
    """

    key: Any
    run: Callable
    inputs: tuple = (Given(),)
    out: Any = (1, 2, 3, 4)
    dim: int = 1
    ties: tuple = ()
    pins: tuple = ()


@dataclass(frozen=True)
class Result:
    """What a flow found: outputs, their labels and the facts."""

    outs: tuple
    labels: tuple
    ties: set
    pins: dict
    used: set
    unknown: tuple


class Noting(dict):
    """A table of rules that remembers which were looked up and found."""

    def __init__(self, rules):
        super().__init__(rules)
        self.used = set()

    def get(self, key, default=None):
        if key in self:
            self.used.add(key)
        return super().get(key, default)


def outcome(run: Callable, *inputs, splits=None) -> Result:
    """Runs a function of tensors under a flow."""
    rules = Noting(RULES)
    flow = Flow({}, Facts(size=10), rules, splits)
    tensors = [given.enter(flow, n) for n, given in enumerate(inputs, 1)]
    flow.facts.size = 1000
    with flow, torch.no_grad(), watched_functions(flow):
        out = (
            run(*tensors) if not isinstance(run, Unrun) else run(flow, tensors)
        )
    outs = tuple(out) if isinstance(out, (tuple, list)) else (out,)
    outs = tuple(o for o in outs if isinstance(o, Tensor))
    labels = tuple(flow.labels(o) for o in outs)
    roots = Components(flow.facts).roots
    joined = {}
    for label, root in enumerate(roots.tolist()):
        joined.setdefault(root, []).append(label)
    return Result(
        outs,
        labels,
        {tuple(same) for same in joined.values() if len(same) > 1},
        {n: why for labels, why in flow.facts.pins for n in labels.tolist()},
        rules.used,
        tuple(flow.facts.unknown),
    )


@dataclass(frozen=True)
class Unrun:
    """A call that is only described: its operator needs other hardware."""

    op: Any  # an overload, or an autograd function
    arguments: tuple
    out: tuple  # shapes of the outputs

    def __call__(self, flow, tensors):
        arguments = [
            tensors[a.number] if isinstance(a, Input) else a
            for a in self.arguments
        ]
        out = tuple(torch.rand(shape) for shape in self.out)
        if isinstance(self.op, type):
            bound = signature(self.op.forward).bind(None, *arguments)
            bound.apply_defaults()
            key, func, arguments = self.op, None, bound.arguments
        else:
            key, func = self.op.overloadpacket, self.op
            arguments = bind(func, arguments, {})
        inputs = tuple(tensors)
        call = Call(str(self.op), key, arguments, inputs, None, '', func)
        with flow.paused():
            flow.flow(call, out if len(out) > 1 else out[0])
        return out


@dataclass(frozen=True)
class Input:
    """The case's input of this number, in the arguments of `Unrun`."""

    number: int


ALL = (1, 2, 3, 4)
X = Given()
Y = Given((5, 6, 7, 8))
LINE = Given(shape=(2, 4, 6))
CUBE = Given(shape=(2, 4, 6, 6, 6))
ROWS = Given(shape=(6, 4))  # (positions, channels)
PAIRS = ((1, 5), (2, 6), (3, 7), (4, 8))
SLOTS = ((1, 3), (2, 4))
ONES = torch.ones(2, 4, 6, 6)


def same(key, *arguments, x=X, **settings):
    """The operator passes labels on as they are."""
    return Case(key, lambda x: key(x, *arguments, **settings), (x,), dim=x.dim)


def across(key, *arguments, x=X, **settings):
    """The operator mixes channels, which pins them."""
    run = partial(lambda op, x: op(x, *arguments, **settings), key)
    return Case(key, run, (x,), out=None, pins=ALL)
