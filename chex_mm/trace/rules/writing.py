"""Operators that write into a tensor, and those that make one for it.

What is written over channels is as many channels; what was freshly made has
none of its own, and takes over those that are written.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..labels import is_constant, without_repeats
from .movement import indexed_dims
from .pointwise import merged
from .table import rule

aten = torch.ops.aten


@rule(aten.copy_)
def write(flow, call):
    """What is written over channels is as many channels, or fills them."""
    if flow.is_weight(call['src']):
        return NotImplemented
    labels, before = flow.labels(call['src']), flow.labels(call['self'])
    if without_repeats(before).any():
        flow.tie(before, labels)
    return merged(labels, before).expand(before.shape)


@rule(
    aten.zeros_like,
    aten.ones_like,
    aten.empty_like,
    aten.full_like,
    aten.rand_like,
    aten.randn_like,
    aten.zero_,
    aten.fill_,
    aten.bernoulli_,
    aten.uniform_,
    aten.normal_,
    aten.exponential_,
)
def follow(flow, call):
    """Made, or filled, in the shape of its source, so it is cut with it."""
    return flow.labels(call['self'])


@rule(
    aten.new_zeros,
    aten.new_ones,
    aten.new_empty,
    aten.new_full,
    aten.new_empty_strided,
)
def forget(flow, call):
    """Sizes come from Python here: nothing is known, nothing is touched."""
    flow.blank[call.out] = call.key is aten.new_zeros
    return None


@rule(aten.index_put_, aten._index_put_impl_)
def put(flow, call):
    """Writes whole channels at positions picked by data.

    Into a tensor freshly made for it, the values bring their channels along.
    """
    target, indices = call['self'], call['indices']
    picked = indexed_dims(indices)
    if len(indices) == 1 and _fills_elements(flow, call, indices[0]):
        flow.tie(flow.labels(target), flow.labels(indices[0]))
        return flow.labels(target)
    if any(i is not None and flow.has_channels(i) for i in indices):
        return NotImplemented
    if picked != list(range(picked[0], picked[-1] + 1)):
        return NotImplemented  # torch puts such dimensions first
    labels = _without_picked(flow.labels(call['values']), call, picked)
    if labels is None:
        return NotImplemented
    return _written_over(flow, target, flow.labels(target), labels)


def _fills_elements(flow, call, index) -> bool:
    """`x[x < 0] = 0`: every element by itself."""
    values = call['values']
    return (
        index is not None
        and index.dtype is torch.bool
        and index.shape == call['self'].shape
        and values.numel() == 1
        and not flow.has_channels(values)
    )


@rule(
    aten.scatter,
    aten.scatter_,
    aten.scatter_add,
    aten.scatter_add_,
    aten.scatter_reduce,
    aten.scatter_reduce_,
)
def put_along(flow, call):
    """Writes to positions picked by data, whole channels of all that is."""
    target, index = call['self'], call['index']
    dim, before = call['dim'] % target.ndim, flow.labels(target)
    parts, source = [before], call.arguments.get('src')
    if isinstance(source, Tensor):  # else a number
        part = tuple(map(slice, index.shape))
        parts.append(flow.labels(source)[part])
    is_whole = all(
        index.shape[d] == target.shape[d]
        for d in range(index.ndim)
        if d != dim
    )
    if (
        not is_whole
        or flow.has_channels(index)
        or not all(is_constant(labels, (dim,)) for labels in parts)
    ):
        return NotImplemented
    if len(parts) == 1 or not index.numel():
        return before
    before, written = (labels.narrow(dim, 0, 1) for labels in parts)
    return _written_over(flow, target, before, written)


def _written_over(flow, target: Tensor, before: Tensor, written: Tensor):
    """Labels of `target`; what was freshly made for them brought none."""
    if target not in flow.blank:
        flow.tie(before, written)
    return merged(written, before).expand(target.shape)


def _without_picked(labels: Tensor, call, picked: list[int]) -> Tensor | None:
    """Of what is written at picked positions: length 1 along these.

    None if the labels differ there. A mask picks along one dimension.
    """
    before, behind = picked[0], call['self'].ndim - 1 - picked[-1]
    index_dims = max(
        1 if index.dtype in (torch.bool, torch.uint8) else index.ndim
        for index in call['indices']
        if index is not None
    )
    missing = before + index_dims + behind - labels.ndim
    if missing < 0:
        return None
    labels = labels[(None,) * missing]
    after = before + index_dims
    dims = range(before, after)
    if not labels.numel() or not is_constant(labels, dims):
        return None
    for dim in dims:
        labels = labels.narrow(dim, 0, 1)
    ones = (1,) * len(picked)
    return labels.reshape(*labels.shape[:before], *ones, *labels.shape[after:])


@rule(
    aten.index_fill,
    aten.index_fill_,
    aten.index_add,
    aten.index_add_,
    aten.index_copy,
    aten.index_copy_,
    aten.index_reduce,
    aten.index_reduce_,
)
def put_rows(flow, call):
    """Writes at positions picked by data, across all channels."""
    target, index = call['self'], call['index']
    dim, before = call['dim'] % max(target.ndim, 1), flow.labels(target)
    source = call.arguments.get('source', call.arguments.get('value'))
    parts = [before]
    if isinstance(source, Tensor) and source.ndim == target.ndim:
        parts.append(flow.labels(source))
    elif isinstance(source, Tensor) and flow.has_channels(source):
        return NotImplemented
    if flow.has_channels(index) or not all(
        is_constant(labels, (dim,)) for labels in parts
    ):
        return NotImplemented
    if len(parts) == 1 or not index.numel():
        return before
    before, written = (labels.narrow(dim, 0, 1) for labels in parts)
    return _written_over(flow, target, before, written)


@rule(aten.select_scatter, aten.slice_scatter)
def put_slice(flow, call):
    """A copy with a slice replaced, across a dimension without channels."""
    target, dim = call['self'], call['dim'] % call['self'].ndim
    before, written = (flow.labels(call[name]) for name in ('self', 'src'))
    if call.key is aten.select_scatter:
        written = written.unsqueeze(dim)
    if not all(is_constant(labels, (dim,)) for labels in (before, written)):
        return NotImplemented
    before, written = (
        labels.narrow(dim, 0, 1) for labels in (before, written)
    )
    return _written_over(flow, target, before, written)
