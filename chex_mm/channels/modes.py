"""Both modes of a model, where one of them leaves layers unused.

A head that runs only in training reads what inference computes, so that its
pass counts for what is coupled, though not for what the model costs.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from chex_mm.channels.trace import Runs, kept_random_state
from chex_mm.channels.watch import Watch, tensors_among

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


def in_both_modes(model: nn.Module, runs: Runs) -> Runs:
    """The same passes, and one in the other mode if it reaches more.

    Warns where layers stay unused and the other mode cannot be run: nothing
    then says how they follow a cut.
    """
    tried = copy.deepcopy(model)
    left = {name for name, _ in tried.named_parameters()}
    for run in (runs.cost, *runs.also):
        if left:
            try:
                left -= _used(tried, run)
            except Exception:  # noqa: BLE001  (the trace tells of it)
                return runs
    if not left:
        return runs
    try:
        is_more = bool(left & _used(tried, switched(runs.cost)))
    except Exception as error:  # noqa: BLE001  (whatever the model raises)
        _warn(model, left, error)
        return runs
    added = (switched(runs.cost),) if is_more else ()
    return replace(runs, also=(*runs.also, *added))


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
