"""Both modes of a model, where one of them leaves layers unused.

A head that runs only in training reads what inference computes, so that its
pass counts for what is coupled, though not for what the model costs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from ..dispatch.nested import tensors_among
from ..dispatch.randomness import kept_random_state
from ..dispatch.watch import Watch
from ..surgery.copying import deep_copy
from .facts import Facts
from .trace import Runs, trace

SHOWN = 5  # parameters in a message


class Used(Watch):
    """Notes which of some parameters operators have read."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self._names = {id(p): name for name, p in model.named_parameters()}
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for tensor in tensors_among(*args, *kwargs.values()):
            name = self._names.get(id(tensor))
            if name is not None:
                self.names.add(name)
        return func(*args, **kwargs)


def trace_both_modes(
    model: nn.Module, runs: Runs, splits: dict[str, str]
) -> tuple[Facts, Runs]:
    """The facts about a model, and the passes that they are of.

    To those given one in the other mode is added if they leave parameters
    unused and it reaches some. Warns where it cannot be run: nothing then
    says how these layers follow a cut, and unless another pass was in that
    mode they are in doubt.
    """
    facts = trace(model, runs, splits)
    reached = {tensor for tensor, _ in facts.spaces}
    left = {name for name, _ in model.named_parameters()} - reached
    if not left:
        return facts, runs
    other = switched(runs.cost)
    try:
        is_more = bool(left & _used(deep_copy(model), other))
    except Exception as error:  # noqa: BLE001  (whatever the model raises)
        _warn(model, left, error)
        if (not model.training) in facts.modes:
            return facts, runs
        runs = replace(runs, doubtful=tuple(sorted(left)))
        return replace(facts, doubtful=runs.doubtful), runs
    if is_more:
        runs = replace(runs, also=(*runs.also, other))
        facts = trace(model, runs, splits)
    return facts, runs


def switched(run: Callable) -> Callable:
    """The pass with every module in the mode that the model is not in."""

    def run_switched(model: nn.Module):
        modes = {module: module.training for module in model.modules()}
        model.train(not model.training)
        try:
            return run(model)
        finally:
            for module, mode in modes.items():
                module.training = mode

    return run_switched


def _used(model: nn.Module, run: Callable) -> set[str]:
    used = Used(model)
    with kept_random_state(), torch.no_grad(), used:
        run(model)
    return used.names


def _warn(model: nn.Module, left: set[str], error: Exception) -> None:
    mode = 'eval()' if model.training else 'train()'
    names = sorted(left)
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    warnings.warn(
        f'{", ".join(names[:SHOWN])}{more} are used in none of the traced '
        f'passes, and under model.{mode} the inputs fail '
        f'({type(error).__name__}: {error}). If such a layer reads what is '
        'cut, the narrow model fails there. Trace its pass as well: '
        'chex_mm.trace_channels(model, inputs, also=[run]), where '
        'run(model) uses it.',
        stacklevel=4,
    )
