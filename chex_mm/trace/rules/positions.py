"""Operators that move or take elements by their position.

Across a dimension without channels they act within each of them. Along
channels the position that the code means is another one after a cut, so that
they pin.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..labels import is_constant
from .movement import moved
from .table import rule

aten = torch.ops.aten


def across(flow, call, labels: Tensor, dims) -> bool:
    """Whether no channels lie along `dims`; pins them if some do."""
    if is_constant(labels, dims):
        return True
    flow.pin(labels, f'{call.place} moves channels by position')
    return False


@rule(aten.roll)
def roll(flow, call):
    labels = flow.labels(call['self'])
    dims = call['dims'] or range(labels.ndim)  # none: all, as one long row
    return labels if across(flow, call, labels, dims) else None


@rule(aten.unfold)
def slide(flow, call):
    """Windows that slide; one that is as long as the dimension may turn it."""
    labels, dim = flow.labels(call['self']), call['dimension']
    if labels.ndim and call['size'] == labels.shape[dim]:
        return moved(flow, call)
    if not across(flow, call, labels, (dim,) if labels.ndim else ()):
        return None
    if labels.ndim:
        labels = labels.narrow(dim, 0, 1)
    return labels[..., None].expand(call.out.shape)


@rule(aten.unfold_backward)
def add_windows(flow, call):
    """Windows are laid over each other again."""
    labels, dim = flow.labels(call['grad_in']), call['dim']
    dims = dim % call.out.ndim, labels.ndim - 1
    if not across(flow, call, labels, dims):
        return None
    return labels[..., 0].narrow(dim, 0, 1).expand(call.out.shape)


@rule(aten.diagonal)
def take_diagonal(flow, call):
    labels = flow.labels(call['self'])
    is_across = across(flow, call, labels, (call['dim1'], call['dim2']))
    return moved(flow, call) if is_across else None


@rule(aten.diag_embed)
def make_diagonal(flow, call):
    labels = flow.labels(call['self'])
    if not across(flow, call, labels, (labels.ndim - 1,)):
        return None
    ndim = call.out.ndim
    dims = sorted(dim % ndim for dim in (call['dim1'], call['dim2']))
    labels = labels.narrow(-1, 0, 1).squeeze(-1)
    for dim in dims:
        labels = labels.unsqueeze(dim)
    return labels.expand(call.out.shape)


@rule(aten.tril, aten.tril_, aten.triu, aten.triu_)
def keep_triangle(flow, call):
    labels = flow.labels(call['self'])
    dims = labels.ndim - 2, labels.ndim - 1
    return labels if across(flow, call, labels, dims) else None


@rule(aten.as_strided)
def stride(flow, call):
    """Frames of a signal: what has channels is left as it lies in memory."""
    tensor, labels = call['self'], flow.labels(call['self'])
    sizes = zip(tensor.shape, tensor.stride())
    others = zip(call.out.shape, call.out.stride())
    same = 0
    for one, other in zip(sizes, others):
        if one != other:
            break
        same += 1
    is_start = call.out.storage_offset() == tensor.storage_offset()
    rest = range(same if is_start else 0, labels.ndim)
    if not across(flow, call, labels, rest):
        return None
    for dim in rest:
        labels = labels.narrow(dim, 0, 1)
    labels = labels.reshape(labels.shape[:same])
    ones = (1,) * (call.out.ndim - same)
    return labels.reshape(*labels.shape, *ones).expand(call.out.shape)


@rule(aten.as_strided_)
def change_format(flow, call):
    """Torch changes the memory format of pooled features with it."""
    if call.out.shape != flow.labels(call['self']).shape:
        return NotImplemented
    return flow.labels(call['self'])
