"""Runs a copy of a model and collects the facts about its channels.

The model, its buffers and all random states are left as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..dispatch.nested import tensors_in
from ..dispatch.randomness import kept_random_state
from ..errors import ChexError
from ..graph.graph import ChannelGraph
from ..registry import key_in
from ..surgery.copying import deep_copy
from .facts import Facts
from .flow import Flow
from .grouping import Components, build_graph
from .opaque import watched_functions
from .rules import RULES, SIZES, STANDARDISERS, is_penalty

Run = Callable[[nn.Module], Any]


@dataclass(frozen=True)
class Runs:
    """How to run a model.

    Attributes:
        cost: The pass whose multiply-adds count: inference.
        also: Further passes (training losses, post-processing) that couple
            channels but do not cost.
        rules: Operator to rule.
        doubtful: Parameters that none of them uses, where a pass that could
            not be run might.
    """

    cost: Run
    also: tuple[Run, ...] = ()
    rules: Any = None
    doubtful: tuple[str, ...] = ()

    @property
    def without_cost(self) -> Runs:
        """Only those in `also`, of which the first takes its place."""
        return replace(self, cost=self.also[0], also=self.also[1:])

    @classmethod
    def of(cls, inputs, also: Sequence[Run] = (), rules=None) -> Runs:
        """From a tuple of forward arguments or a callable `run(model)`."""
        if isinstance(inputs, Tensor):
            inputs = (inputs,)
        if not callable(inputs):
            arguments = tuple(inputs)
            return cls(lambda model: model(*arguments), tuple(also), rules)
        return cls(inputs, tuple(also), rules)


class RunFailed(ChexError):
    """The model itself raised while it was being traced.

    Attributes:
        flow: What was known about channels at that moment.
        path: (name, arguments) of the modules that were running, outermost
            first.
    """

    def __init__(self, flow: Flow, path: list[tuple[str, Any]], error):
        super().__init__(
            f'{path[-1][0] if path and path[-1][0] else "The model"} failed '
            f'while its channels were traced: {type(error).__name__}: {error}'
        )
        self.flow = flow
        self.path = path


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, shared ones once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def trace(model: nn.Module, runs: Runs, splits: dict[str, str]) -> Facts:
    """The facts about a model, from running a copy of it."""
    copied = deep_copy(model)
    facts = Facts(doubtful=runs.doubtful)
    rules = RULES if runs.rules is None else runs.rules
    follow(copied, runs, Flow(named_tensors(copied), facts, rules, splits))
    return facts


def follow(model: nn.Module, runs: Runs, flow: Flow) -> None:
    """Runs `model` in every way under `flow`, and leaves hooks on it.

    Raises:
        RunFailed: From whatever the model raised.
    """
    path = _follow_modules(model, flow)
    flow.standardisers = frozenset(
        name
        for name, module in model.named_modules()
        if name and type(module) in STANDARDISERS
    )
    for number, run in enumerate((runs.cost, *runs.also)):
        flow.is_counting = number == 0
        try:
            with kept_random_state(), torch.no_grad():
                with flow, watched_functions(flow):
                    out = run(model)
            for tensor in tensors_in(out):
                if flow.has_channels(tensor):
                    flow.pin(flow.labels(tensor), 'it leaves the model')
        except Exception as error:
            raise RunFailed(flow, path, error) from error


def _follow_modules(model: nn.Module, flow: Flow) -> list[tuple[str, Any]]:
    """Keeps `flow.module` up to date; returns the stack of modules."""
    stack: list[tuple[str, Any]] = []
    unseen = ExitStack()

    def enter(name):
        def hook(module, args, kwargs):
            stack.append((name, (args, kwargs)))
            flow.module = name
            flow.facts.modes.add(model.training)
            _note_sizes(module, args, flow)
            if is_penalty(module):
                unseen.enter_context(flow.paused())

        return hook

    def leave(module, args, out):
        if is_penalty(module):
            unseen.close()  # not when a module inside of it returns
        stack.pop()
        flow.module = stack[-1][0] if stack else ''

    for name, module in model.named_modules():
        module.register_forward_pre_hook(enter(name), with_kwargs=True)
        module.register_forward_hook(leave)
    return stack


def _note_sizes(module: nn.Module, args: tuple, flow: Flow) -> None:
    """Attributes that count channels and that no tensor's shape tells."""
    known = SIZES.get(key_in(SIZES, type(module)))
    for name, places in (known(module, args) if known else {}).items():
        size = getattr(module, name)
        counted = [
            flow.along(tensor, dim)
            for tensor, dim in places
            if tensor.shape[dim] == size
        ]
        flow.place = f'{name} of {flow.module}'
        for other in counted[1:]:
            flow.tie(counted[0], other)
        if counted:
            flow.facts.sizes[flow.module, name] = counted[0]


def graph_of(
    model: nn.Module, facts: Facts, components: Components | None = None
) -> ChannelGraph:
    """The channel graph that follows from the facts about `model`."""
    shapes = {n: tuple(t.shape) for n, t in named_tensors(model).items()}
    parameters = dict(model.named_parameters())
    return build_graph(facts, shapes, parameters, components)
