"""Pooling, resizing and padding in space: every channel on its own."""

from __future__ import annotations

import torch

from ..labels import is_constant, spread
from .table import rule

aten = torch.ops.aten
SPATIAL_DIMS = {
    1: (
        aten.upsample_nearest1d,
        aten._upsample_nearest_exact1d,
        aten.upsample_linear1d,
        aten.reflection_pad1d,
        aten.replication_pad1d,
    ),
    2: (
        aten.max_pool2d_with_indices,
        aten.avg_pool2d,
        aten._adaptive_avg_pool2d,
        aten.adaptive_max_pool2d,
        aten.fractional_max_pool2d,
        aten.upsample_nearest2d,
        aten._upsample_nearest_exact2d,
        aten.upsample_bilinear2d,
        aten._upsample_bilinear2d_aa,
        aten.upsample_bicubic2d,
        aten._upsample_bicubic2d_aa,
        aten.max_unpool2d,
        aten.reflection_pad2d,
        aten.replication_pad2d,
    ),
    3: (
        aten.max_pool3d_with_indices,
        aten.avg_pool3d,
        aten._adaptive_avg_pool3d,
        aten.adaptive_max_pool3d,
        aten.fractional_max_pool3d,
        aten.max_unpool3d,
        aten.upsample_nearest3d,
        aten._upsample_nearest_exact3d,
        aten.upsample_trilinear3d,
        aten.reflection_pad3d,
        aten.replication_pad3d,
    ),
}
DIMS_OF = {op: dims for dims, ops in SPATIAL_DIMS.items() for op in ops}


@rule(*DIMS_OF)
def resample(flow, call):
    x, space = call.inputs[0], DIMS_OF[call.key]
    if 'indices' in call.arguments:  # each channel's own, back from a pooling
        flow.tie(flow.labels(x), flow.labels(call['indices']))
    labels = flow.labels(x)
    if not is_constant(labels, range(x.ndim - space, x.ndim)):
        dim = x.ndim - space - 1
        labels = spread(flow.vector(x, dim), x.shape, dim)
    few = labels[(..., *(slice(0, 1),) * space)]
    return tuple(few.expand(out.shape) for out in call.outs)


@rule(aten.grid_sampler_2d, aten.grid_sampler_3d)
def sample(flow, call):
    """Where to sample is data; what is sampled keeps its channels."""
    if flow.has_channels(call['grid']):
        flow.pin(flow.labels(call['grid']), f'{call.place} samples there')
    return spread(flow.vector(call['input'], 1), call.out.shape, 1)
