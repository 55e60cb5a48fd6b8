"""Convolution, linear layers and matrix products: channels in, channels out.

What is summed over is tied to the weight's in-dimension; the out-dimension
makes new channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from chex_mm.channels.graph import Role
from chex_mm.channels.labels import spread
from chex_mm.channels.rules.table import rule

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
    direction = _transposed if operands.transposed else _forward
    entering = flow.vector(x, x_dim)
    _check_entering(flow, call, x, weight, entering)
    leaving = direction(flow, entering, weight, operands.groups)
    if operands.bias is not None and not flow.blank.get(operands.bias):
        flow.tie(flow.axis(operands.bias, 0, Role.BIAS), leaving)
    if operands.transposed:
        positions = x.numel() // x.shape[x_dim]
    else:
        positions = call.out.numel() // len(leaving)
    rows, columns = _pair(flow, weight, operands.transposed)
    flow.count(call, positions * weight[0, 0].numel(), rows, columns)
    return spread(leaving, call.out.shape, x_dim)


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


def _forward(flow, entering: Tensor, weight: Tensor, groups: int) -> Tensor:
    rows_per_group = weight.shape[0] // groups
    columns = flow.axis(weight, 1, Role.COLUMN)
    # A grouped weight cut down to one column keeps that column's label.
    if groups > 1 and len(columns) == 1 and not columns.any():
        rows = flow.axis(weight, 0, Role.FILTER)
        flow.tie(entering.repeat_interleave(rows_per_group), rows)
        return rows
    rows = flow.axis(weight, 0, Role.ROW)
    flow.tie(entering, columns.repeat(groups))
    _tie_slots(flow, rows, groups)
    return rows


def _transposed(flow, entering: Tensor, weight: Tensor, groups: int) -> Tensor:
    depthwise = groups > 1 and weight.shape[0] == groups
    into = flow.axis(weight, 0, Role.FILTER if depthwise else Role.COLUMN)
    flow.tie(entering, into)
    if depthwise and weight.shape[1] == 1:
        return into
    _tie_slots(flow, into, groups)
    return flow.axis(weight, 1, Role.ROW).repeat(groups)


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
    if flow.is_weight(call['mat2']):
        return _linear(
            flow, call, call['self'], call['mat2'], None, transposed=True
        )
    return _product(flow, call, call['self'], call['mat2'])


@rule(aten.bmm)
def batched_product(flow, call):
    if flow.is_weight(call['self']):
        return _filter(flow, call, call['self'], call['mat2'])
    return _product(flow, call, call['self'], call['mat2'])


def _filter(flow, call, weight, x):
    """A kernel per sample, (batch, out, in) by (batch, in, positions)."""
    rows, columns = flow.along(weight, 1), flow.along(weight, 2)
    flow.count(call, x.numel() // x.shape[1], rows, columns)
    entering = flow.vector(x, 1)
    _check_entering(flow, call, x, weight, entering)
    flow.tie(entering, columns)
    return spread(rows, call.out.shape, 1)


def _linear(flow, call, x, weight, bias, transposed: bool = False):  # noqa: PLR0913
    """x (..., in), weight (out, in), or (in, out) when `transposed`."""
    rows, columns = _pair(flow, weight, transposed)
    flow.count(call, x.numel() // x.shape[-1], rows, columns)
    others = range(x.ndim - 1)
    if not flow.is_constant(x, others):
        # Positions carry the channels: the layer mixes within a channel.
        return _mixed_within(flow, call, x, rows, columns, bias)
    entering = flow.vector(x, x.ndim - 1)
    _check_entering(flow, call, x, weight, entering)
    flow.tie(entering, columns)
    if bias is not None:
        flow.tie(flow.axis(bias, 0, Role.BIAS), rows)
    return spread(rows, call.out.shape, call.out.ndim - 1)


def _mixed_within(flow, call, x, rows, columns, bias):  # noqa: PLR0913
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
