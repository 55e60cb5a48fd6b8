"""Features between points: the weighted sum of those of three neighbours."""

from __future__ import annotations

import numpy as np
import torch
from mmcv.ops.three_interpolate import ThreeInterpolate

from .compiled import compiled, each_channel, numbers
from .gathering import check_indices
from .install import cpu_kernel


@cpu_kernel(ThreeInterpolate)
def interpolate(ctx, features, indices, weight):
    """Weighted sums (B, C, n) of features (B, C, N) at indices (B, n, 3)."""
    check_indices('three_interpolate', features, indices)
    source = numbers(features)
    ctx.count = source.shape[2]
    ctx.rows = numbers(indices), numbers(weight).astype(source.dtype)
    out = np.empty((*source.shape[:2], indices.shape[1]), source.dtype)
    each_channel(_mix, source, out, *ctx.rows)
    return torch.from_numpy(out).to(features.dtype)


@cpu_kernel(ThreeInterpolate, 'backward')
def interpolate_backward(ctx, grad_out):
    """What each known feature gets back; the weights get nothing."""
    source = numbers(grad_out)
    out = np.zeros((*source.shape[:2], ctx.count), source.dtype)
    each_channel(_spread, source, out, *ctx.rows)
    return torch.from_numpy(out).to(grad_out.dtype), None, None


@compiled
def _mix(source, out, places, weights):
    for j in range(out.size):
        first = weights[j, 0] * source[places[j, 0]]
        second = weights[j, 1] * source[places[j, 1]]
        out[j] = first + second + weights[j, 2] * source[places[j, 2]]


@compiled
def _spread(source, out, places, weights):
    for j in range(source.size):
        for near in range(3):
            out[places[j, near]] += source[j] * weights[j, near]
