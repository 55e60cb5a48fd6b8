"""Operators that work element by element: what meets is tied."""

from __future__ import annotations

import torch

from ..labels import aligned, is_constant, is_spread_over
from . import weights
from .table import rule

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
    aten.complex,
    aten.polar,
    aten.masked_fill,
    aten.masked_fill_,
)
def tie(flow, call):
    if weights.are_weights(flow, call):
        return weights.tied(flow, call)
    if call.key is aten.mul and _is_nothing(flow, call):
        return None
    labels, *others = _operands(flow, call)
    for other in others:
        flow.tie(labels, other)
        labels = merged(labels, other)
    if any(_is_smaller(out, labels) for out in call.outs):
        return NotImplemented
    return tuple(labels.expand(out.shape) for out in call.outs)


def _operands(flow, call) -> list[torch.Tensor]:
    """Labels of what meets; a number that is spread over channels has none.

    `w[0] * features`: what comes out has the channels of the features. So it
    must not matter which of both is named first.
    """
    found = [labels_once(flow, tensor) for tensor in call.inputs]
    if flow.computes_nothing:
        _pin_norm_of_nothing(flow, call, found)
    for number, one in enumerate(found):
        if any(is_spread_over(one, other) for other in found):
            flow.pin(one, f'it is broadcast over channels at {call.place}')
            found[number] = torch.zeros_like(one)
    return found


def _pin_norm_of_nothing(flow, call, labels: list[torch.Tensor]) -> None:
    """Of a batch norm's scales torch takes the first one for no sample.

    So nothing tells which of its vectors belong to which channel.
    """
    for tensor in call.inputs:
        vector = tensor._base
        if vector is not None and not tensor.ndim and flow.is_named(vector):
            for each in (flow.labels(vector), *labels):
                flow.pin(each, f'{call.place} computes nothing')


def labels_once(flow, tensor) -> torch.Tensor:
    """Its labels; one number that is spread over a dimension is one.

    `F.normalize` spreads a norm over as many channels as it was taken of;
    the check by replay finds a size that does not follow. The same holds for
    what was freshly made of one number in a size from Python.
    """
    labels = flow.labels(tensor)
    if flow.is_blank(tensor):
        return labels[(slice(1),) * labels.ndim]
    return labels[
        tuple(
            slice(None if stride or not is_constant(labels, (dim,)) else 1)
            for dim, stride in enumerate(tensor.stride())
        )
    ]


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
