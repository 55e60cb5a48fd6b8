"""Tensors among what functions take, return and keep."""

from __future__ import annotations

from torch import Tensor, nn


def tensors_among(*values) -> tuple[Tensor, ...]:
    """Tensors among an operator's arguments, which nest lists at most."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors_among(*value)
    return tuple(found)


def tensors_in(value, seen: set[int] | None = None) -> list[Tensor]:
    """All tensors in nested containers and plain objects."""
    seen = set() if seen is None else seen
    if isinstance(value, Tensor):
        return [value]
    if id(value) in seen or isinstance(value, nn.Module):
        return []
    seen.add(id(value))
    if isinstance(value, dict):
        parts = list(value.values())
    elif isinstance(value, (list, tuple, set)):
        parts = list(value)
    else:
        parts = list(getattr(value, '__dict__', {}).values())
    return [tensor for part in parts for tensor in tensors_in(part, seen)]
