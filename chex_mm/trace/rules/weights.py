"""What operators do to weights, which have labels per dimension.

Kernels that are computed from stored ones (normalised, gated, taken apart) go
on as weights as long as every dimension keeps its channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...graph.groups import Role
from ..labelling import Axes
from ..labels import spread, varying, without_repeats

aten = torch.ops.aten
NOT_FOR_LABELS = ('dtype', 'layout', 'device', 'pin_memory', 'memory_format')
SUMS = {aten.sum, aten.norm, aten.linalg_vector_norm}
MOMENTS = {aten.mean, aten.var, aten.var_mean, aten.std, aten.std_mean}


def viewed(flow, call) -> Axes | None:
    """A weight with other dimensions, each channel along one of them.

    Where a dimension of channels is taken apart the same slot of every row is
    one channel. None where two dimensions of channels become one, or what is
    taken apart must not be.
    """
    weight, shape = call['self'], call.out.shape
    if weight.shape == shape:
        return Axes(flow.axes(weight))
    found: list[Tensor | None] = [None] * len(shape)
    mode = flow.splits.get(call.place, 'slots')
    if mode == 'pin':
        return None
    for dim, vector in _to_view(flow, call, mode):
        labels = spread(vector, weight.shape, dim).reshape(shape)
        dims = varying(labels)
        if not dims or found[dims[-1]] is not None:
            return None
        if len(dims) > 1 and mode != 'slots':
            return None
        found[dims[-1]] = _slots(flow, labels, dims[-1])
    return Axes(tuple(found))


def _to_view(flow, call, mode: str) -> list[tuple[int, Tensor]]:
    """Dimensions of channels, with their labels.

    Where two of three become one, it keeps the channels of the middle one:
    (out, in, places) and (places, in, out) both have what is read there. If
    that was wrong, the product that follows asks for the other ('rows').
    """
    weight = call['self']
    found = [
        (dim, vector)
        for dim, vector in enumerate(flow.axes(weight))
        if vector is not None and vector.any()
    ]
    merged = _merged(weight.shape, call.out.shape)
    if not set(merged) <= {dim for dim, _ in found}:
        return found
    flow.slotted[call.out] = call.place
    middle, other = merged
    lost = other if mode == 'slots' else middle
    reason = f'it is laid along one dimension with others at {call.place}'
    for dim, vector in found:
        if dim == lost:
            flow.pin(vector, reason)
    return [(dim, vector) for dim, vector in found if dim != lost]


def _merged(shape, into) -> tuple[int, ...]:
    """Of three long dimensions the middle one and what is laid beside it."""
    long = [dim for dim, size in enumerate(shape) if size != 1]
    if len(long) == 3:
        first, middle, last = long
        sizes = [size for size in into if size != 1]
        if sizes == [shape[first] * shape[middle], shape[last]]:
            return middle, first
        if sizes == [shape[first], shape[middle] * shape[last]]:
            return middle, last
    return (len(shape),)  # none


def _slots(flow, labels: Tensor, dim: int) -> Tensor:
    """One label per position along `dim`; what else it has there is tied."""
    rows = without_repeats(labels, but=dim).movedim(dim, -1)
    rows = rows.reshape(-1, labels.shape[dim])
    flow.tie(rows[:1].expand_as(rows), rows)
    return rows[0]


def carried(flow, call) -> Axes | None:
    """A weight whose elements were moved, each channel along one dimension.

    None where one does not lie along exactly one dimension of its own.
    """
    weight = call.inputs[0]
    found: list[Tensor | None] = [None] * call.out.ndim
    arguments = {
        name: value
        for name, value in call.arguments.items()
        if name not in NOT_FOR_LABELS
    }
    for dim, vector in enumerate(flow.axes(weight)):
        if vector is None or not vector.any():
            continue
        arguments['self'] = spread(vector, weight.shape, dim)
        labels = call.func(**arguments)
        dims = varying(labels)
        if len(dims) != 1 or found[dims[0]] is not None:
            return None
        found[dims[0]] = _slots(flow, labels, dims[0])
    return Axes(tuple(found))


def taken(flow, call) -> Axes | None:
    """A slice of a weight across its channels, or the matrix of one row.

    None where a slice takes some of the channels.
    """
    axes = flow.axes(call['self'])
    dim = call['dim'] % len(axes)
    over = axes[dim]
    is_free = over is None or not over.any()
    if call.key is aten.select and len(axes) > 2:
        if not is_free:
            flow.pin(over, f'{call.place} takes channels one by one')
        return Axes(axes[:dim] + axes[dim + 1 :])
    return Axes(axes) if is_free and call.key is aten.slice else None


def padded(flow, call) -> Axes:
    """A weight with more positions, which hold no channel."""
    vectors = list(flow.axes(call['self']))
    pads = call['pad']
    for pair in range(len(pads) // 2):
        vector = vectors[-1 - pair]
        if vector is not None:
            vectors[-1 - pair] = aten.constant_pad_nd(
                vector, pads[2 * pair : 2 * pair + 2]
            )
    return Axes(tuple(vectors))


def joined(flow, call, tensor: Tensor, dim: int) -> Tensor:
    """Labels of what is put beside others; learned tokens are (1, n, c)."""
    if not flow.is_weight(tensor):
        return flow.labels(tensor)
    axes = flow.axes(tensor)
    others = [d for d, v in enumerate(axes) if v is not None and v.any()]
    if dim in others:
        others.remove(dim)
    if len(others) != 1:
        return flow.labels(tensor)
    if axes[dim] is not None:
        flow.pin(axes[dim], f'{call.place} puts others beside it')
    return spread(axes[others[0]], tensor.shape, others[0])


def are_weights(flow, call) -> bool:
    """Weights, and what carries channels along one dimension."""
    return any(map(flow.is_weight, call.inputs)) and all(
        flow.is_weight(tensor) or len(flow.channel_dims(tensor)) < 2
        for tensor in call.inputs
    )


def tied(flow, call) -> Axes | Tensor | None:
    """Weights that meet: along every dimension channel by channel."""
    out = call.outs[0]
    vectors = []
    for dim in range(-out.ndim, 0):
        met = [
            tensor
            for tensor in call.inputs
            if -dim <= tensor.ndim and tensor.shape[dim] > 1
        ]
        along = [_along(flow, tensor, dim) for tensor in met]
        first = next((v for v in along if v.any()), None)
        if first is not None:
            along = [_demanded(flow, t, dim, v) for t, v in zip(met, along)]
        for other in along if first is not None else ():
            flow.tie(first, other)
        vectors.append(first)
    for tensor in call.inputs:  # a number that is spread over channels
        if tensor.numel() == 1 and flow.has_channels(tensor):
            reason = f'it is broadcast over channels at {call.place}'
            flow.pin(flow.labels(tensor), reason)
    if are_of_weights(flow, call):
        return Axes(tuple(vectors))
    # A learned map on activations: what comes out may be one as well.
    left = [None if flow.are_fixed(vector) else vector for vector in vectors]
    return _labels(left, out.shape)


def are_of_weights(flow, call) -> bool:
    """Whether nothing but weights, and numbers per row of one, come in."""
    return all(
        flow.is_named(tensor)
        or flow.is_weight(tensor)
        or not flow.has_channels(tensor)
        or flow.facts.are_rows(flow.labels(tensor))
        for tensor in call.inputs
    )


def _labels(vectors: list[Tensor | None], shape) -> Axes | Tensor | None:
    """Of a tensor whose dimensions have these: a weight has several."""
    found = [dim for dim, vector in enumerate(vectors) if vector is not None]
    if len(found) > 1:
        return Axes(tuple(vectors))
    return spread(vectors[found[0]], shape, found[0]) if found else None


def _along(flow, tensor: Tensor, dim: int) -> Tensor:
    """Labels along a dimension, counted from the last; 0 if none vary."""
    dim += tensor.ndim
    if flow.is_weight(tensor) or dim in flow.channel_dims(tensor):
        return flow.along(tensor, dim)
    return torch.zeros(tensor.shape[dim], dtype=torch.long)


def _demanded(flow, tensor: Tensor, dim: int, found: Tensor) -> Tensor:
    """Labels along a dimension that holds channels because some meet it."""
    dim += tensor.ndim
    if dim < 2 or found.any() or not flow.is_named(tensor):
        return found
    return flow.axis(tensor, dim, Role.VALUE)


def adds_up(flow, call) -> bool:
    """A sum, or the root of one, to which zeros add nothing."""
    order = call.arguments.get('ord', call.arguments.get('p'))
    return (
        call.key in SUMS
        and (order is None or order >= 0)
        and flow.vanishes(call.inputs[0])
    )


def _is_standard(flow, call, dims: list[int]) -> bool:
    """Mean or deviation of rows, in a module that counts what is gone."""
    return (
        call.key in MOMENTS
        and 0 not in dims
        and flow.module in flow.standardisers
        and flow.vanishes(call.inputs[0])
    )


def reduced(flow, call, dims: list[int]):
    """What is left of a weight has the channels of its other dimensions."""
    axes = flow.axes(call.inputs[0])
    over = [axes[d] for d in dims if axes[d] is not None and axes[d].any()]
    is_exact = adds_up(flow, call) or _is_standard(flow, call, dims)
    if over and not is_exact:
        flow.pin(torch.cat(over), f'{call.place} reduces over channels')
    out = call.outs[0]
    is_kept = out.ndim == len(axes)
    left = [
        None if dim in dims else vector
        for dim, vector in enumerate(axes)
        if is_kept or dim not in dims
    ]
    return (_labels(left, out.shape),) * len(call.outs)
