"""Operators that move elements: the same operator moves their labels.

Only what the move may not separate is tied. With labels along the channels
before and after:

    x.flip(1)                        1 2 3 4  ->  4 3 2 1
    torch.cat([x, y], 1)             1 2, 3 4  ->  1 2 3 4
    x.chunk(2, 1)                    1 2 3 4  ->  1 2 and 3 4; 1-3 and 2-4 are
                                     tied, for the pieces stay of equal length
    x.view(n, 2, 2, h, w)            1 2 3 4  ->  (1 2) (1 2): it must stay a
                                     rectangle, so 1-3 and 2-4 are tied
    x[:, :1]                         1 2 3 4  ->  1; whether 1 is a number or a
                                     share of the channels, a replay finds out
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ..facts import Take
from ..labelling import Axes
from ..labels import spread, varying, without_repeats
from .table import rule
from .weights import NOT_FOR_LABELS, carried, joined, padded, taken, viewed

aten = torch.ops.aten


def moved(flow, call):
    """Labels after the operator itself has moved them."""
    arguments = {
        name: tree_map(
            lambda a: flow.labels(a) if isinstance(a, Tensor) else a, value
        )
        for name, value in call.arguments.items()
        if name not in NOT_FOR_LABELS
    }
    return call.func(**arguments)


@rule(
    'view',
    aten.repeat,
    aten.flip,
    aten.rot90,
)
def move(flow, call):
    if flow.is_weight(call.inputs[0]):
        axes = carried(flow, call)
        if axes is not None:
            return axes
    return moved(flow, call)


@rule(aten.squeeze_, aten.unsqueeze_, aten.t_)
def move_in_place(flow, call):
    """The same on a view of the labels, which others may hold as well."""
    labels = flow.labels(call['self'])
    return call.func(**{**call.arguments, 'self': aten.alias(labels)})


@rule(aten.cat, aten.stack)
def join(flow, call):
    """Joined along another dimension than theirs, channels must be equal."""
    # A 1-d empty tensor joins anything and leaves no trace in the result.
    ndim = call.out.ndim - (call.key is aten.stack)
    tensors = [t for t in call['tensors'] if t.numel() and t.ndim == ndim]
    if not tensors:
        return None
    dim = call['dim'] % call.out.ndim
    if call.key is aten.stack:
        labels = [flow.labels(each).unsqueeze(dim) for each in tensors]
    else:
        labels = [joined(flow, call, each, dim) for each in tensors]
    dims = set().union(*map(varying, labels))
    if not dims or dim in dims:
        return torch.cat(labels, dim)
    first, *others = (each.narrow(dim, 0, 1) for each in labels)
    for other in others:
        flow.tie(first, other)
    return first.expand(call.out.shape)


@rule(
    aten.clone,
    aten.detach,
    aten.alias,
    aten.lift_fresh,
    aten._to_copy,
    aten._conj,
    aten._neg_view,
)
def keep(flow, call):
    tensor = call.inputs[0]
    if flow.is_weight(tensor):
        return Axes(flow.axes(tensor))
    return flow.labels(tensor)


@rule(aten.t, aten.transpose, aten.permute)
def permute(flow, call):
    tensor = call['self']
    # A linear layer to a single channel is one as well.
    is_matrix = call.key is aten.t and flow.is_named(tensor)
    if not (flow.is_weight(tensor) or is_matrix and tensor.ndim == 2):
        return moved(flow, call)
    ndim = tensor.ndim
    if call.key is aten.permute:
        order = [d % ndim for d in call['dims']]
    else:
        a, b = (
            (0, ndim - 1)
            if call.key is aten.t
            else (
                call['dim0'] % ndim,
                call['dim1'] % ndim,
            )
        )
        order = list(range(ndim))
        order[a], order[b] = b, a
    axes = flow.axes(tensor)
    return Axes(tuple(axes[d] for d in order))


@rule(
    aten.view,
    aten._unsafe_view,
    aten._reshape_alias,
)
def regroup(flow, call):
    """Splits or merges dimensions.

    Channels that a view spreads over two dimensions must stay a rectangle:
    the same slot of every row is one channel, or whole rows are, or (where
    the sizes are constants of the code) nothing may be cut.
    """
    tensor = call['self']
    if flow.is_weight(tensor):
        axes = viewed(flow, call)
        if axes is not None:
            return axes
    labels = flow.labels(tensor)
    if labels.numel() != call.out.numel():  # of an empty one, any sizes fit
        labels = without_repeats(labels)
    labels = labels.reshape(call.out.shape)
    dims = varying(labels)
    how = flow.splits.get(call.place, 'slots')
    if how == 'pin':
        flow.pin(labels, f'a size is written in Python: {call.place}')
    elif len(dims) > 1:
        flow.facts.splits.setdefault(call.place, []).append(labels.unique())
        if how == 'slots':
            flow.slotted[call.out] = call.place
        for dim in dims[:-1] if how == 'slots' else dims[1:]:
            same = labels.narrow(dim, 0, 1).expand_as(labels)
            flow.tie(same, labels)
            labels = same
    return labels


@rule(
    aten.slice,
    aten.select,
    aten.split,
    aten.split_with_sizes,
    aten.unsafe_split,
)
def take(flow, call):
    """Takes parts: the code may have counted them, so they are noted.

    Equal pieces stay equal: the same slot of each piece is one channel.
    """
    if isinstance(call.out, Tensor) and flow.is_weight(call['self']):
        axes = taken(flow, call)
        if axes is not None:
            return axes
    labels = flow.labels(call['self'])
    out = moved(flow, call)
    if call['self'] in flow.filling and isinstance(out, Tensor):
        if not without_repeats(out).any():
            return out  # to be written next
    dim = call['dim'] % labels.ndim
    size = labels.shape[dim]
    few = without_repeats(labels, but=dim).movedim(dim, 0).reshape(size, -1)
    if not few.any():
        return out
    positions = moved_positions(call, size)
    if dim not in varying(labels):
        flow.take(Take(call.place, few[:1], positions))
        return out
    _keep_periods(flow, call, few)
    parts = flow.take(Take(call.place, few, positions)).parts
    if parts and (
        len(positions) == parts or flow.splits.get(call.place) == 'slots'
    ):
        slots = few.unflatten(0, (parts, -1))
        flow.tie(slots[:1].expand_as(slots), slots)
    return out


def _keep_periods(flow, call, few: Tensor) -> None:
    """`x[:, ::2]`: what lies between two that are taken goes with them."""
    step = call.arguments.get('step', 1)
    if step == 1:
        return
    if len(few) % step:
        flow.pin(few, f'{call.place} takes every so many channels')
    else:
        periods = few.unflatten(0, (-1, step))
        flow.tie(periods[:, :1].expand_as(periods), periods)


def moved_positions(call, size: int) -> tuple[Tensor, ...]:
    """The positions along the dimension of a call that each output has."""
    arguments = {**call.arguments, 'self': torch.arange(size), 'dim': 0}
    out = call.func(**arguments)
    pieces = out if isinstance(out, (tuple, list)) else (out,)
    return tuple(piece.reshape(-1) for piece in pieces)


@rule(aten.unbind)
def unbind(flow, call):
    """Every piece has its own channel, so none of them may be cut."""
    labels = flow.labels(call['self'])
    if call['dim'] % labels.ndim in varying(labels):
        flow.pin(labels, f'{call.place} takes channels one by one')
    return moved(flow, call)


@rule(aten.constant_pad_nd)
def pad(flow, call):
    """Padding along channels adds positions that are no channel."""
    if flow.is_weight(call['self']):
        return padded(flow, call)
    labels, shape = flow.labels(call['self']), call.out.shape
    before_after = call['pad']
    around = [0] * len(before_after)
    for pair in range(len(before_after) // 2):
        dim = labels.ndim - 1 - pair
        if dim in varying(labels):
            around[2 * pair : 2 * pair + 2] = before_after[
                2 * pair : 2 * pair + 2
            ]
        else:
            # Spatial padding belongs to the channel that it surrounds.
            longer = [-1] * labels.ndim
            longer[dim] = shape[dim]
            labels = labels.narrow(dim, 0, 1).expand(longer)
    return aten.constant_pad_nd(labels, around) if any(around) else labels


@rule(aten.pixel_shuffle, aten.pixel_unshuffle)
def shuffle_pixels(flow, call):
    """The maps that are woven into one channel live and die together."""
    flow_out = moved(flow, call)
    if call.key is aten.pixel_shuffle:
        block = flow_out.reshape(*flow_out.shape[:-2], -1)
        flow.tie(block[..., :1].expand_as(block), block)
    return flow_out


@rule(aten.channel_shuffle)
def shuffle_channels(flow, call):
    vector = flow.vector(call['self'], 1)
    slots = vector.view(call['groups'], -1)
    flow.tie(slots[:1].expand_as(slots), slots)
    return spread(slots.t().reshape(-1), call.out.shape, 1)


@rule(aten.im2col)
def unfold_patches(flow, call):
    area = call['kernel_size'][0] * call['kernel_size'][1]
    dim = call['self'].ndim - 3
    vector = flow.vector(call['self'], dim).repeat_interleave(area)
    return spread(vector, call.out.shape, dim)


@rule(aten.gather)
def pick_along(flow, call):
    """Every channel may pick positions of its own, but not channels."""
    index, dim = call['index'], call['dim']
    if not flow.has_channels(index) or not all(
        flow.is_constant(tensor, (dim,)) for tensor in call.inputs
    ):
        return pick(flow, call)
    own, picking = (
        flow.labels(tensor).narrow(dim, 0, 1) for tensor in call.inputs
    )
    if own.shape != picking.shape:
        return pick(flow, call)
    flow.tie(own, picking)
    return own.expand(call.out.shape)


@rule(aten.bucketize)
def sort_in(flow, call):
    """Each element by itself, among boundaries that are no channels."""
    if flow.has_channels(call['boundaries']):
        return end(flow, call)
    return flow.labels(call['self'])


@rule(aten.col2im)
def fold_patches(flow, call):
    """The patches of a channel add up to its map."""
    area = call['kernel_size'][0] * call['kernel_size'][1]
    dim = call.out.ndim - 3
    patches = flow.vector(call['self'], dim).view(-1, area)
    flow.tie(patches[:, :1].expand_as(patches), patches)
    return spread(patches[:, 0], call.out.shape, dim)


@rule(aten.index, aten.index_select)
def pick(flow, call):
    """Picks by data: along channels the picked positions are fixed."""
    tensor = call['self']
    labels = flow.labels(tensor)
    dims = varying(labels)
    indices = [call['index']] if 'index' in call.arguments else call['indices']
    for index in indices:
        if isinstance(index, Tensor) and flow.has_channels(index):
            flow.pin(flow.labels(index), f'{call.place} uses it as an index')
    if call.key is aten.index:
        picked = indexed_dims(indices)
    else:
        picked = [call['dim'] % tensor.ndim]
    if any(d in dims for d in picked):
        flow.pin(labels, f'{call.place} picks channels by data')
        return None
    if call.key is aten.index:
        return aten.index(labels, [_some(index) for index in indices])
    return call.func(labels, call['dim'], call['index'])


def _some(index: Tensor | None) -> Tensor | None:
    """A mask that picks nothing would leave no label."""
    is_mask = index is not None and index.dtype in (torch.bool, torch.uint8)
    if not is_mask or index.any():
        return index
    first = torch.zeros_like(index)
    first.view(-1)[0] = True
    return first


def indexed_dims(indices) -> list[int]:
    dims, dim = [], 0
    for index in indices:
        # A bool mask consumes as many dimensions as it has.
        width = 1
        if index is not None:
            if index.dtype in (torch.bool, torch.uint8):
                width = index.ndim
            dims += range(dim, dim + width)
        dim += width
    return dims


@rule(
    aten._local_scalar_dense,
    aten.equal,
    aten.nonzero,
    aten.masked_select,
    aten._assert_async,
    aten.is_same_size,
    aten._unique2,
    aten.unique_dim,
    aten.bincount,
    aten.isin,
    aten.searchsorted,
    aten.take,
    aten.histc,
)
def end(flow, call):
    """Channels turn into plain data."""
    flow.pin_inputs(call, f'{call.place} turns channels into data')
    return None
