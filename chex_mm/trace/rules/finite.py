"""Where a masked channel would make what is no number.

Zeros are tried on operators that act element by element and on reductions
within a channel; what fails there is pinned, so that masks are always finite.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ...dispatch.call import default_kind
from ...dispatch.nested import tensors_among
from ..finite import spoils_zeros
from ..vanishing import Probe
from . import weights
from .reductions import KEEPING_ZEROS

aten = torch.ops.aten
REDUCTIONS = {
    *KEEPING_ZEROS,
    aten.prod,
    aten.logsumexp,
    aten.cumprod,
    aten.logcumsumexp,
}
NORMS = {
    aten.native_batch_norm: 'eps',
    aten.cudnn_batch_norm: 'epsilon',
    aten.miopen_batch_norm: 'epsilon',
    aten.native_group_norm: 'eps',
}
LONG = 3  # elements of what a reduction is tried on, per dimension


def spoilt(flow, call) -> Iterator[Tensor]:
    """Labels of the channels of which a call makes no numbers of zeros."""
    zeros = [
        t for t in call.inputs if flow.has_channels(t) and flow.vanishes(t)
    ]
    if not zeros or call.func is None or not tensors_among(call.outs):
        return
    if call.key in NORMS:
        if call[NORMS[call.key]] == 0:
            yield flow.vector(call['input'], 1)
    elif call.key in REDUCTIONS or call.func in REDUCTIONS:
        if _tried(flow, call, zeros, (LONG,) * call.inputs[0].ndim):
            yield from _channels(flow, zeros)
    elif default_kind(call.func) == 'pointwise':
        yield from _elements(flow, call, zeros)


def _elements(flow, call, zeros: list[Tensor]) -> Iterator[Tensor]:
    """Masks along every dimension on their own, if operands differ in it."""
    ndim = call.outs[0].ndim
    if len({tensor.shape for tensor in call.inputs}) == 1:
        if _tried(flow, call, zeros):
            yield from _channels(flow, zeros)
        return
    for dim in {d - t.ndim for t in zeros for d in flow.channel_dims(t)}:
        along = [
            tensor
            for tensor in zeros
            if -dim <= tensor.ndim
            and tensor.shape[dim] == call.outs[0].shape[ndim + dim]
            and tensor.ndim + dim in flow.channel_dims(tensor)
        ]
        if along and _tried(flow, call, along):
            for tensor in along:
                yield flow.along(tensor, tensor.ndim + dim)


def _channels(flow, tensors: list[Tensor]) -> Iterator[Tensor]:
    for tensor in tensors:
        for dim in flow.channel_dims(tensor):
            yield flow.along(tensor, dim)


def _tried(
    flow, call, zeros: list[Tensor], shape: tuple[int, ...] = (1,)
) -> bool:
    known = {id(tensor) for tensor in zeros}
    return spoils_zeros(
        call.func,
        tuple(
            (name, _plain(value, known, shape))
            for name, value in call.arguments.items()
        ),
        with_gradients=_may_train(flow, call),
    )


def _may_train(flow, call) -> bool:
    """Whether gradients matter: those of masked rows of kernels are zeroed.

    Torch has none of an operator that writes into `out=`.
    """
    writes_out = any(a.is_out for a in call.func._schema.arguments)
    return not (writes_out or weights.are_of_weights(flow, call))


def _plain(value, known: set[int], shape: tuple[int, ...]):
    """An argument as a key: a probe in place of a tensor."""
    if isinstance(value, Tensor):
        return Probe(value.dtype, value.device, id(value) in known, shape)
    return tuple(value) if isinstance(value, list) else value
