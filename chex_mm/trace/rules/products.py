"""Convolution, linear layers and matrix products: channels in, channels out.

What is summed over is tied to the weight's in-dimension; the out-dimension
makes new channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...graph.cost import Geometry
from ...graph.groups import Role
from ..labels import spread, without_repeats
from .pointwise import labels_once, merged
from .table import rule

aten = torch.ops.aten


@dataclass(frozen=True)
class Operands:
    """What a convolution computes with.

    Attributes:
        x: (batch, in, *space) or (in, *space).
        weight: (out, in / groups, *kernel), or when transposed
            (in, out / groups, *kernel).
        bias: (out,) or None.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None = None
    groups: int = 1
    transposed: bool = False


@rule(aten.convolution)
def convolve(flow, call):
    names = 'input', 'weight', 'bias', 'groups', 'transposed'
    return convolution(flow, call, Operands(*(call[n] for n in names)))


def convolution(flow, call, operands: Operands) -> Tensor:
    """Labels of any convolution, plain, grouped, depthwise, transposed."""
    x, weight = operands.x, operands.weight
    x_dim = x.ndim - (weight.ndim - 2) - 1  # 0 for an unbatched input
    _pin_places(flow, call, weight)
    if _is_within(flow, call, operands, x_dim):
        return _convolve_each(flow, call, operands, x_dim)
    direction = _transposed if operands.transposed else _forward
    entering = flow.vector(x, x_dim)
    found = direction(flow, entering, weight, operands.groups)
    if not flow.is_named(weight) and found.columns.any():
        flow.facts.assume(found.rows, Role.ROW)
        flow.facts.assume(found.columns, Role.COLUMN)
    if not found.is_shared:
        _check_entering(flow, call, x, weight, entering)
    if operands.bias is not None and not flow.blank.get(operands.bias):
        flow.tie(flow.axis(operands.bias, 0, Role.BIAS), found.leaving)
    if operands.transposed:
        positions = x.numel() // x.shape[x_dim]
    else:
        positions = call.out.numel() // len(found.leaving)
    each = positions * weight[0, 0].numel()
    geometry = _geometry(call, operands, x_dim)
    flow.count(call, each, found.rows, found.columns, geometry)
    return spread(found.leaving, call.out.shape, x_dim)


def _geometry(call, operands: Operands, x_dim: int) -> Geometry:
    """Of a convolution; a stride may be said once for all sides."""
    kernel = tuple(operands.weight.shape[2:])
    stride = call.arguments.get('stride', 1)
    if isinstance(stride, int) or len(stride) == 1:
        stride = (stride if isinstance(stride, int) else stride[0],)
        stride *= len(kernel)
    sizes = list(call.out.shape)
    del sizes[x_dim]
    return Geometry(kernel, tuple(stride), operands.groups, tuple(sizes))


def _pin_places(flow, call, weight: Tensor) -> None:
    """The sides of a kernel that was made of something else stay."""
    if flow.is_weight(weight) and not flow.is_named(weight):
        for dim in range(2, weight.ndim):
            reason = f'{call.place} has it as places in a kernel'
            flow.pin(flow.along(weight, dim), reason)


def _is_within(flow, call, operands: Operands, x_dim: int) -> bool:
    """Whether no channel meets another: samples, or places of a 1x1 kernel."""
    dims, into = flow.channel_dims(operands.x), int(not operands.transposed)
    is_last = operands.weight.shape[into] == 1  # the last channel of several
    if is_last and flow.axis(operands.weight, into, Role.COLUMN).any():
        return False
    places = [dim - x_dim - 1 for dim in dims if dim > x_dim]
    kernel = operands.weight.shape[2:]
    return (
        bool(dims)
        and x_dim not in dims
        and (not places or call.key is aten.convolution)
        and all(
            kernel[place] == 1
            and call['stride'][place % len(call['stride'])] == 1
            and not call['padding'][place % len(call['padding'])]
            for place in places
        )
    )


def _convolve_each(flow, call, operands: Operands, x_dim: int) -> Tensor:
    """Every channel is a sample of its own: `y.flatten(0, 1)[:, None]`."""
    weight, bias = operands.weight, operands.bias
    reason = f'{call.place} mixes positions within a channel'
    for tensor, dim in ((weight, 0), (weight, 1), (bias, 0)):
        if tensor is not None:
            flow.pin(flow.axis(tensor, dim, Role.VALUE), reason)
    elements = operands.x if operands.transposed else call.out
    total = elements.numel() * weight[0].numel()
    _count_within(flow, call, operands.x, total)
    return without_repeats(flow.labels(operands.x)).expand(call.out.shape)


def _count_within(flow, call, x, total: int) -> None:
    """Multiply-adds of what costs the same in every channel of `x`."""
    one = channels = torch.zeros(1, dtype=torch.long)
    dims = flow.channel_dims(x)
    if len(dims) == 1:
        channels = flow.vector(x, dims[0])
    flow.count(call, total // len(channels), channels, one)


def _check_entering(flow, call, x, weight: Tensor, entering: Tensor) -> None:
    """A masked channel adds nothing if it is zero, or its column is."""
    if not (flow.vanishes(weight) or flow.vanishes(x)):
        flow.pin(
            entering,
            f'{call.place} has a computed weight that is not zero where its '
            'channels are masked',
        )


def _pair(flow, weight: Tensor, transposed: bool) -> tuple[Tensor, Tensor]:
    out, into = (1, 0) if transposed else (0, 1)
    return (
        flow.axis(weight, out, Role.ROW),
        flow.axis(weight, into, Role.COLUMN),
    )


@dataclass(frozen=True)
class Found:
    """What a convolution does to channels.

    Attributes:
        leaving: Labels of the output's channels.
        rows: Along the out-dimension of the weight, for the cost.
        columns: Along its in-dimension.
        is_shared: One kernel, without channels, serves every channel.
    """

    leaving: Tensor
    rows: Tensor
    columns: Tensor
    is_shared: bool = False


def _forward(flow, entering: Tensor, weight: Tensor, groups: int) -> Found:
    per_group = weight.shape[0] // groups
    columns = flow.axis(weight, 1, Role.COLUMN)
    # A grouped weight cut down to one column keeps that column's label.
    if _is_depthwise(flow, weight, groups) and not columns.any():
        rows = flow.axis(weight, 0, Role.FILTER)
        leaving = entering.repeat_interleave(per_group)
        if _is_one_kernel(weight, rows, groups):
            return Found(leaving, leaving, columns, is_shared=True)
        flow.facts.assume(rows, Role.FILTER)
        flow.tie(leaving, rows)
        return Found(rows, rows, columns)
    rows = flow.axis(weight, 0, Role.ROW)
    flow.tie(entering, columns.repeat(groups))
    _tie_slots(flow, rows, groups)
    return Found(rows, rows, columns)


def _transposed(flow, entering: Tensor, weight: Tensor, groups: int) -> Found:
    per_group = weight.shape[1]
    if _is_depthwise(flow, weight, groups, transposed=True):
        into = flow.axis(weight, 0, Role.FILTER)
        rows = torch.zeros(per_group, dtype=torch.long)
        is_shared = _is_one_kernel(weight, into, groups)
        if not is_shared:
            flow.facts.assume(into, Role.FILTER)
            flow.tie(entering, into)
        into = entering if is_shared else into
        leaving = into.repeat_interleave(per_group)
        return Found(leaving, rows, into, is_shared)
    into = flow.axis(weight, 0, Role.COLUMN)
    flow.tie(entering, into)
    _tie_slots(flow, into, groups)
    rows = flow.axis(weight, 1, Role.ROW)
    return Found(rows.repeat(groups), rows, into)


def _is_depthwise(flow, weight, groups: int, transposed=False) -> bool:
    """A kernel, or several, per channel; also where one channel is left."""
    one = weight.shape[0] == groups if transposed else weight.shape[1] == 1
    return one and (groups > 1 or flow.role(weight, 0) is Role.FILTER)


def _is_one_kernel(weight: Tensor, rows: Tensor, groups: int) -> bool:
    """Whether one kernel is repeated for every channel (blur pooling).

    How often is a matter of Python, which the replay looks at.
    """
    each = weight.unflatten(0, (groups, -1))
    return not rows.any() and torch.equal(each, each[:1].expand_as(each))


def _tie_slots(flow, vector: Tensor, groups: int) -> None:
    """The same slot of every group, so that the groups stay equal."""
    if groups > 1:
        slots = vector.view(groups, -1)
        flow.tie(slots[:1].expand_as(slots), slots)


@rule(aten.addmm)
def linear_with_bias(flow, call):
    if not flow.is_weight(call['mat2']):
        return add_product(flow, call)
    return _linear(
        flow, call, call['mat1'], call['mat2'], call['self'], transposed=True
    )


@rule(aten.mm)
def linear_or_product(flow, call):
    a, b = call['self'], call['mat2']
    if flow.is_weight(b):
        return _linear(flow, call, a, b, None, transposed=True)
    if flow.is_weight(a):
        return _weighted(flow, call, b, a, -2)
    return _product(flow, call, a, b)


@rule(aten.bmm)
def batched_product(flow, call):
    a, b = call['self'], call['mat2']
    if flow.is_weight(a):
        return _weighted(flow, call, b, a, -2)
    if flow.is_weight(b):
        return _weighted(flow, call, a, b, -1)
    return _product(flow, call, a, b)


def _weighted(flow, call, x, weight, dim: int):
    """A matrix, or one per sample, times (…, positions, in) or the reverse.

    Args:
        flow: As of a rule.
        call: As of a rule.
        x: Has its channels along `dim`, -1 or -2.
        weight: (..., in, out) where `dim` is -1, else (..., out, in).
        dim: See `x`.
    """
    ndim = x.ndim
    rows, columns = (
        flow.along(weight, d + ndim)
        for d in ((-1, -2) if dim == -1 else (-2, -1))
    )
    flow.facts.assume(rows, Role.ROW)
    flow.facts.assume(columns, Role.COLUMN)
    others = [d for d in range(ndim) if d != dim + ndim]
    if not flow.is_constant(x, others):
        return _weighted_within(flow, call, x, weight, dim)
    for each in range(ndim - 2):
        reason = f'{call.place} takes its matrices one by one'
        flow.pin(flow.along(weight, each), reason)
    entering = flow.vector(x, dim + ndim)
    _check_merged(flow, weight, entering, columns)
    _check_entering(flow, call, x, weight, entering)
    flow.count(call, x.numel() // x.shape[dim], rows, columns)
    flow.tie(entering, columns)
    return spread(rows, call.out.shape, dim + ndim)


def _weighted_within(flow, call, x, weight, dim: int):
    """Samples carry the channels: a matrix for each, or one for all."""
    ndim = x.ndim
    reason = f'{call.place} mixes positions within a channel'
    for each in ndim - 2, ndim - 1:
        flow.pin(flow.along(weight, each), reason)
    labels = flow.labels(x)
    if not flow.is_constant(x, (dim + ndim,)):
        flow.pin(labels, reason)
        return None
    _count_within(flow, call, x, x.numel() * call.out.shape[dim])
    labels = labels.narrow(dim, 0, 1)
    if ndim > 2 and flow.along(weight, 0).any():
        flow.tie(flow.vector(x, 0), flow.along(weight, 0))
    return labels.expand(call.out.shape)


def _check_merged(flow, weight, entering: Tensor, columns: Tensor) -> None:
    """Whether a view has kept the channels of the right one of two dimensions.

    `einsum('nkc,kcd->nd')` lays kernel points and channels along one
    dimension. If it is the wrong one, the view has to keep the other.
    """
    place = flow.slotted.get(weight)
    if place and entering.any() and columns.any():
        runs = [bool(v[0] == v[1]) for v in (entering, columns)]
        if runs[0] != runs[1]:
            flow.facts.rows.add(place)


def _linear(flow, call, x, weight, bias, transposed: bool = False):  # noqa: PLR0913
    """x (..., in), weight (out, in), or (in, out) when `transposed`."""
    rows, columns = _pair(flow, weight, transposed)
    others = range(x.ndim - 1)
    if not flow.is_constant(x, others):
        # Positions carry the channels: the layer mixes within a channel.
        return _mixed_within(flow, call, x, rows, columns, bias)
    flow.count(call, x.numel() // x.shape[-1], rows, columns)
    flow.facts.assume(rows, Role.ROW)
    flow.facts.assume(columns, Role.COLUMN)
    entering = flow.vector(x, x.ndim - 1)
    _check_merged(flow, weight, entering, columns)
    _check_entering(flow, call, x, weight, entering)
    flow.tie(entering, columns)
    if bias is not None:
        flow.tie(flow.axis(bias, 0, Role.BIAS), rows)
    return spread(rows, call.out.shape, call.out.ndim - 1)


def _mixed_within(flow, call, x, rows, columns, bias):  # noqa: PLR0913
    _count_within(flow, call, x, x.numel() * len(rows))
    reason = f'{call.place} mixes positions within a channel'
    flow.pin(rows, reason)
    flow.pin(columns, reason)
    if bias is not None:
        flow.pin(flow.axis(bias, 0, Role.BIAS), reason)
    if not flow.is_constant(x, (x.ndim - 1,)):
        flow.pin(flow.labels(x), reason)
        return None
    return flow.labels(x)[..., :1].expand(call.out.shape)


def _product(flow, call, a, b):
    """Activation times activation, (..., n, k) by (..., k, m).

    Summing over channels is pinned even where they match: code scales such
    products by the number of channels (attention), which a cut changes.
    """
    if _are_samples(flow, a, b):
        total = a.numel() * b.shape[-1]
        return _product_within(flow, call, a, b, total)
    for tensor, dim in ((a, a.ndim - 1), (b, b.ndim - 2)):
        if not flow.is_constant(tensor, (dim,)):
            flow.pin(
                flow.labels(tensor), f'{call.place} contracts over channels'
            )
    lengths = _along(flow, a, a.ndim - 2), _along(flow, b, b.ndim - 1)
    flow.count(call, a.numel() // a.shape[-2], *lengths)
    rows = flow.labels(a)[..., :1].expand(call.out.shape)
    columns = flow.labels(b)[..., :1, :].expand(call.out.shape)
    if not flow.is_constant(a, (a.ndim - 2,)):
        flow.pin(columns, f'{call.place} has channels on both sides')
        return rows
    flow.pin(rows, f'{call.place} contracts over channels')
    return columns


def _are_samples(flow, *tensors) -> bool:
    """Whether channels lie along the dimensions of samples only."""
    dims = [(flow.channel_dims(tensor), tensor.ndim - 2) for tensor in tensors]
    return any(found for found, _ in dims) and all(
        dim < last for found, last in dims for dim in found
    )


def _product_within(flow, call, a, b, total: int) -> Tensor:
    """Every channel has a product of its own, of two maps or of sequences."""
    one, other = (labels_once(flow, tensor)[..., :1, :1] for tensor in (a, b))
    flow.tie(one, other)
    _count_within(flow, call, a if flow.channel_dims(a) else b, total)
    return merged(one, other).expand(call.outs[0].shape)


def _along(flow, tensor: Tensor, dim: int) -> Tensor:
    """Its channels along `dim`, where they are the same everywhere else."""
    if flow.is_constant(tensor, [d for d in range(tensor.ndim) if d != dim]):
        return flow.vector(tensor, dim)
    return torch.zeros(tensor.shape[dim], dtype=torch.long)


def _count_product(flow, call, shape, length: int) -> None:
    """Of tensors of shapes `shape`, (..., n, k), and (..., k, length)."""
    flow.count(
        call,
        math.prod(shape[:-1]),
        torch.zeros(length, dtype=torch.long),
        torch.zeros(shape[-1], dtype=torch.long),
    )


@rule(aten.mv)
def weigh(flow, call):
    """A sum over channels with a weight for each (a mean of bins)."""
    x, weights = call['self'], call['vec']
    for tensor, dim in ((x, 1), (weights, 0)):
        if not flow.is_constant(tensor, (dim,)):
            reason = f'{call.place} contracts over channels'
            flow.pin(flow.labels(tensor), reason)
    return flow.labels(x)[:, 0]


@rule(aten.baddbmm)
def add_product(flow, call):
    """Something plus a product of activations."""
    a, b = call.inputs[1:]
    if flow.is_weight(b):
        labels = _weighted(flow, call, a, b, -1)
        if labels is not None:
            flow.tie(labels, flow.labels(call['self']))
        return labels
    _count_product(flow, call, a.shape, b.shape[-1])
    return contract(flow, call)


@rule(
    aten._scaled_dot_product_flash_attention_for_cpu,
    aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_cudnn_attention,
)
def attend(flow, call):
    """Heads and their scale are counted in Python, so nothing may go."""
    query, value = call['query'], call['value']
    keys = value.shape[-2]
    _count_product(flow, call, query.shape, keys)
    _count_product(flow, call, (*query.shape[:-1], keys), value.shape[-1])
    return contract(flow, call)


@rule(aten._native_multi_head_attention)
def attend_projected(flow, call):
    """Attention with its four projections in one kernel."""
    query, keys = call['query'], call['key'].shape[1]
    batch, queries, width = query.shape
    _count_product(flow, call, (2, batch, queries, width), width)
    _count_product(flow, call, (2, batch, keys, width), width)
    _count_product(flow, call, (2, batch, queries, width), keys)
    return contract(flow, call)


@rule(aten._cdist_forward, aten._euclidean_dist)
def contract(flow, call):
    """A sum over channels, whose number a cut would change."""
    flow.pin_inputs(call, f'{call.place} contracts over channels')
    return None


@rule(aten.embedding)
def look_up(flow, call):
    """Rows are picked by data, and each of them holds all channels."""
    if flow.has_channels(call['indices']):
        flow.pin(
            flow.labels(call['indices']), f'{call.place} uses it as an index'
        )
    rows = flow.axis(call['weight'], 0, Role.ROW)
    flow.pin(rows, f'{call.place} picks rows by data')
    columns = flow.axis(call['weight'], 1, Role.ROW)
    return spread(columns, call.out.shape, call.out.ndim - 1)
