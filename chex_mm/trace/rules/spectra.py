"""Fourier transforms and complex numbers: every channel on its own.

A complex number is one element, and so it has one label.
"""

from __future__ import annotations

import torch

from ...graph.groups import Role
from ..labelling import Axes
from ..labels import is_constant
from .table import rule

aten = torch.ops.aten


@rule(aten._fft_r2c, aten._fft_c2r, aten._fft_c2c)
def transform(flow, call):
    """A spectrum over positions belongs to the channel that they are in."""
    labels = flow.labels(call['self'])
    dims = [dim % labels.ndim for dim in call['dim']]
    if not is_constant(labels, dims):
        flow.pin(labels, f'{call.place} transforms over channels')
        return None
    for dim in dims:
        labels = labels.narrow(dim, 0, 1)
    return labels.expand(call.out.shape)


@rule(aten.view_as_real)
def take_apart(flow, call):
    """Both parts of a number lie side by side, in a last dimension."""
    if flow.is_weight(call['self']):
        return Axes((*flow.axes(call['self']), None))
    return flow.labels(call['self'])[..., None].expand(call.out.shape)


@rule(aten.view_as_complex)
def put_together(flow, call):
    parts = call['self']
    if not flow.is_weight(parts):
        if not flow.is_constant(parts, (parts.ndim - 1,)):
            flow.pin_inputs(call, f'{call.place} makes numbers of channels')
        return flow.labels(parts)[..., 0]
    *others, last = flow.axes(parts)
    if last is not None:
        flow.pin(last, f'{call.place} makes numbers of channels')
    if flow.is_named(parts):  # not the kernel of a convolution
        dims = range(parts.ndim - 1)
        others = [flow.axis(parts, dim, Role.VALUE) for dim in dims]
    return Axes(tuple(others))
