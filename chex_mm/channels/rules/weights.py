"""What operators do to weights, which have labels per dimension.

Kernels that are computed from stored ones (normalised, gated, taken apart) go
on as weights as long as every dimension keeps its channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chex_mm.channels.labelling import Axes
from chex_mm.channels.labels import spread, varying, without_repeats

aten = torch.ops.aten
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
    for dim, vector in enumerate(flow.axes(weight)):
        if vector is None or not vector.any():
            continue
        labels = spread(vector, weight.shape, dim).reshape(shape)
        dims = varying(labels)
        is_split = len(dims) > 1
        if not dims or found[dims[-1]] is not None:
            return None
        if is_split and flow.splits.get(call.place, 'slots') != 'slots':
            return None
        found[dims[-1]] = _slots(flow, labels, dims[-1])
    return Axes(tuple(found))


def _slots(flow, labels: Tensor, dim: int) -> Tensor:
    """One label per position along `dim`; what else it has there is tied."""
    rows = without_repeats(labels, but=dim).movedim(dim, -1)
    rows = rows.reshape(-1, labels.shape[dim])
    flow.tie(rows[:1].expand_as(rows), rows)
    return rows[0]


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
        along = [
            _along(flow, tensor, dim)
            for tensor in call.inputs
            if -dim <= tensor.ndim and tensor.shape[dim] > 1
        ]
        first = next((v for v in along if v.any()), None)
        for other in along if first is not None else ():
            flow.tie(first, other)
        vectors.append(first)
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
    if over and adds_up(flow, call):
        flow.add_up(call.out, torch.cat(over))
    elif over and not _is_standard(flow, call, dims):
        flow.pin(torch.cat(over), f'{call.place} reduces over channels')
    out = call.outs[0]
    is_kept = out.ndim == len(axes)
    left = [
        None if dim in dims else vector
        for dim, vector in enumerate(axes)
        if is_kept or dim not in dims
    ]
    return (_labels(left, out.shape),) * len(call.outs)
