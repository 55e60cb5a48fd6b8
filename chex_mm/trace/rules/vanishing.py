"""Where masked channels stay zero, operator by operator.

`@zeros(...)` decorates `function(flow, call) -> bool`: whether every channel
of the outputs is zero where it is masked. An operator that is not entered
makes no such promise, which is always right.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..vanishing import Probe, keeps_zeros
from .reductions import KEEPING_ZEROS
from .sampling import DIMS_OF
from .table import zeros

aten = torch.ops.aten


@zeros(
    'view',
    aten.view,
    aten._unsafe_view,
    aten._reshape_alias,
    aten.repeat,
    aten.flip,
    aten.roll,
    aten.rot90,
    aten.tril,
    aten.triu,
    aten.diagonal,
    aten.diag_embed,
    aten.as_strided,
    aten.col2im,
    aten.renorm,
    aten.select_scatter,
    aten.slice_scatter,
    aten.unfold,
    aten.unfold_backward,
    aten.cat,
    aten.stack,
    aten.clone,
    aten.detach,
    aten.alias,
    aten.lift_fresh,
    aten._to_copy,
    aten.t,
    aten.transpose,
    aten.permute,
    aten.slice,
    aten.select,
    aten.split,
    aten.split_with_sizes,
    aten.unsafe_split,
    aten.unbind,
    aten.pixel_shuffle,
    aten.pixel_unshuffle,
    aten.channel_shuffle,
    aten.im2col,
    aten.index,
    aten.index_select,
    aten.gather,
    aten.embedding,
    aten.glu,
    aten.bmm,
    aten.cumsum,
    aten.cumprod,
    aten.cummax,
    aten.cummin,
    aten.sort,
    aten.topk,
    aten.grid_sampler_2d,
    aten.grid_sampler_3d,
    aten._fft_r2c,
    aten._fft_c2r,
    aten._fft_c2c,
    aten.view_as_real,
    aten.view_as_complex,
    aten._conj,
    aten._neg_view,
    *KEEPING_ZEROS,
    *DIMS_OF,
)
def kept(flow, call) -> bool:
    """Zeros that enter are all that leaves in a channel."""
    return all(
        flow.vanishes(tensor)
        for tensor in call.inputs
        if flow.has_channels(tensor)
    )


@zeros(aten.constant_pad_nd)
def padded(flow, call) -> bool:
    return call['value'] == 0 and kept(flow, call)


@zeros(aten.zeros_like, aten.zero_)
def made(flow, call) -> bool:
    return True


@zeros(aten.copy_)
def copied(flow, call) -> bool:
    source = call['src']
    return _is_zero(flow, source) or (source.numel() == 1 and not source.any())


@zeros(aten.index_put_, aten._index_put_impl_)
def put(flow, call) -> bool:
    return flow.vanishes(call['values']) and _is_zero(flow, call['self'])


@zeros(
    'pointwise',
    aten.native_dropout,
    aten.hardswish,
    aten.hardswish_,
    aten.leaky_relu,
    aten.leaky_relu_,
    aten._prelu_kernel,
    aten.complex,
    aten.polar,
)
def tried(flow, call) -> bool:
    """Element by element: tried out on zeros."""
    arguments = tuple(
        (name, _probe(flow, call, value) if _is_tensor(value) else value)
        for name, value in call.arguments.items()
    )
    return keeps_zeros(call.func, arguments)


def _is_tensor(value) -> bool:
    return isinstance(value, Tensor)


def _probe(flow, call, tensor: Tensor) -> Probe:
    """Zero only what brings a channel to every one that leaves."""
    is_zero = _is_zero(flow, tensor)
    out = call.outs[0]
    if is_zero and tensor.shape != out.shape:
        missing = out.ndim - tensor.ndim
        is_zero = all(
            dim >= missing and tensor.shape[dim - missing] == out.shape[dim]
            for dim in flow.channel_dims(out)
        )
    return Probe(tensor.dtype, tensor.device, is_zero)


def _is_zero(flow, tensor: Tensor) -> bool:
    """Zero in masked channels, or altogether."""
    if flow.blank.get(tensor):
        return True
    return flow.has_channels(tensor) and flow.vanishes(tensor)


@zeros(aten.convolution, aten.addmm, aten.mm)
def computed(flow, call) -> bool:
    """A row of zeros, and a bias of zero, whatever is read."""
    names = {aten.addmm: ('mat2', 'self'), aten.mm: ('mat2',)}
    weight, *biases = (
        call[name] for name in names.get(call.key, ('weight', 'bias'))
    )
    if not (flow.is_named(weight) or flow.is_weight(weight)):
        return kept(flow, call)
    return all(flow.vanishes(t) for t in (weight, *biases) if t is not None)


@zeros(
    aten.native_batch_norm,
    aten.cudnn_batch_norm,
    aten.miopen_batch_norm,
    aten.native_group_norm,
)
def scaled(flow, call) -> bool:
    """Zero by scale and shift, or because it was."""
    vectors = [call['weight'], call['bias']]
    if vectors == [None, None]:
        vectors = [call['input']]
    return all(v is not None and flow.vanishes(v) for v in vectors)
