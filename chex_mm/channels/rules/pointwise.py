"""Operators that work element by element: what meets is tied."""

from __future__ import annotations

import torch

from chex_mm.channels.labelling import Axes
from chex_mm.channels.labels import aligned, varying
from chex_mm.channels.rules.table import rule

aten = torch.ops.aten


# Operators that torch 2.11 does not tag as pointwise although they are.
@rule(
    'pointwise',
    aten.native_dropout,
    aten.rrelu_with_noise,
    aten.hardswish,
    aten.hardswish_,
    aten.leaky_relu,
    aten.leaky_relu_,
    aten._prelu_kernel,
    aten.log_sigmoid_forward,
)
def tie(flow, call):
    if any(map(flow.is_weight, call.inputs)) and _are_weights(flow, call):
        return _tie_axes(flow, call)
    if call.key is aten.mul and _is_nothing(flow, call):
        return None
    if call.key is aten.add_ and flow.blank.get(call['self']):
        return flow.labels(call['other']).expand(call.out.shape)
    labels = _labels(flow, call.inputs[0])
    for other in call.inputs[1:]:
        other = _labels(flow, other)
        flow.tie(labels, other)
        labels = merged(labels, other)
    if any(_is_smaller(out, labels) for out in call.outs):
        return NotImplemented
    return tuple(labels.expand(out.shape) for out in call.outs)


def _labels(flow, tensor) -> torch.Tensor:
    """Its labels; one number that is spread over a dimension is one.

    `F.normalize` spreads a norm over as many channels as it was taken of;
    the check by replay finds a size that does not follow.
    """
    labels = flow.labels(tensor)
    if flow.has_channels(tensor):
        return labels
    spread_over = [slice(None if s else 1) for s in tensor.stride()]
    return labels[tuple(spread_over)]


def _are_weights(flow, call) -> bool:
    """Weights, and what has one number per row of a weight."""
    return all(
        flow.is_named(tensor)
        or flow.is_weight(tensor)
        or not flow.has_channels(tensor)
        or flow.facts.are_rows(flow.labels(tensor))
        for tensor in call.inputs
    )


def _tie_axes(flow, call) -> Axes:
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
    return Axes(tuple(vectors))


def _along(flow, tensor, dim: int) -> torch.Tensor:
    """Labels along a dimension, counted from the last, of a weight."""
    vector = None
    if flow.is_weight(tensor):
        vector = flow.axes(tensor)[dim]
    elif flow.has_channels(tensor):
        labels = flow.labels(tensor)
        if labels.ndim + dim in varying(labels):
            return flow.vector(tensor, labels.ndim + dim)
    if vector is None:
        return torch.zeros(tensor.shape[dim], dtype=torch.long)
    return vector


def _is_nothing(flow, call) -> bool:
    """`x.sum() * 0` keeps parameters in the graph and adds nothing."""
    return flow.is_deferred(call['self']) and (
        not isinstance(call['other'], torch.Tensor) and call['other'] == 0
    )


def _is_smaller(out, labels) -> bool:
    """`log_sigmoid_forward` returns an empty buffer beside its result."""
    return out.numel() < labels.numel() and out.numel() > 0


def merged(a, b):
    """One label per element of the broadcast shape, `a`'s where it has one."""
    shape = torch.broadcast_shapes(a.shape, b.shape)
    a, b = aligned(a, b)
    return torch.where(a != 0, a, b).expand(shape)


@rule(
    aten.mse_loss,
    aten.smooth_l1_loss,
    aten.huber_loss,
    aten.binary_cross_entropy,
    aten.binary_cross_entropy_with_logits,
)
def loss(flow, call):
    if call['reduction'] == 0:
        return tie(flow, call)
    flow.pin_inputs(call, f'{call.place} reduces over channels')
    return None


@rule(aten.glu)
def gate(flow, call):
    """The first half is gated by the second: same slot, same channel."""
    labels = flow.labels(call['self'])
    value, by = labels.chunk(2, call['dim'])
    flow.tie(value, by)
    return value
