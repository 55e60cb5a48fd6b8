"""Copies of a model that run on nothing but their own parameters.

Plain `deepcopy` refuses a model that keeps what its last pass computed (a
loss, a feature map), and copies no function, so that a `forward` wrapped in
one (activation checkpointing does so) would go on running the old module.
"""

from __future__ import annotations

import copy
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from ..dispatch.nested import tensors_in


def copy_of(model: nn.Module, given: dict[int, object] | None = None):
    """A deep copy of a model.

    Args:
        model: Stays as it is.
        given: By `id` of a part of the model, what the copy has instead.
    """
    memo = dict(given or {})
    for module in model.modules():
        for tensor in _kept_beside(module):
            if not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
    return deep_copy(model, memo)


def _kept_beside(module: nn.Module) -> list[Tensor]:
    """Tensors among its plain attributes; it registers the others."""
    registered = ('_parameters', '_buffers', '_modules')
    attributes = vars(module).items()
    return tensors_in([v for name, v in attributes if name not in registered])


def deep_copy(model: nn.Module, memo: dict[int, Any] | None = None):
    """A deep copy, in which functions know the copied modules.

    Args:
        model: Stays as it is.
        memo: As of `copy.deepcopy`: by `id` of a part of the model, what the
            copy has instead.
    """
    memo = {} if memo is None else memo
    copied = copy.deepcopy(model, memo)
    for module in model.modules():
        if id(module) in memo:
            _rebind(vars(memo[id(module)]), memo)
    return copied


def _rebind(values: dict, memo: dict[int, Any]) -> None:
    """Rebinds functions among attributes, and in dicts of hooks."""
    for name, value in values.items():
        if isinstance(value, FunctionType):
            values[name] = _rebound(value, memo)
        elif isinstance(value, dict) and str(name).endswith('_hooks'):
            _rebind(value, memo)


def _rebound(value: Any, memo: dict[int, Any]) -> Any:
    """What the copy has of a module, its method or a function around it."""
    if isinstance(value, nn.Module):
        return memo.get(id(value), value)
    if isinstance(value, MethodType):
        owner = _rebound(value.__self__, memo)
        is_same = owner is value.__self__
        return value if is_same else MethodType(value.__func__, owner)
    if not isinstance(value, FunctionType) or not value.__closure__:
        return value
    if id(value) not in memo:
        memo[id(value)] = _around_copies(value, memo)
    return memo[id(value)]


def _around_copies(function: FunctionType, memo: dict[int, Any]):
    """The same function around what the copy has; itself if around nothing."""
    cells = tuple(CellType() for _ in function.__closure__)
    made = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        cells,
    )
    made.__kwdefaults__ = function.__kwdefaults__
    memo[id(function)] = made  # what it holds may hold it
    is_other = False
    for new, old in zip(cells, function.__closure__):
        try:
            held = old.cell_contents
        except ValueError:
            continue  # it is not filled yet
        bound = new.cell_contents = _rebound(held, memo)
        is_other |= bound is not held and bound is not made
    return made if is_other else function
