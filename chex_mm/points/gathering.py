"""Features at chosen points: gathered, grouped, interpolated.

Forward copies or sums, backward adds up in the order of the places where a
point was used, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
import torch
from mmcv.ops.gather_points import GatherPoints
from mmcv.ops.group_points import GroupingOperation

from .compiled import compiled, each_channel, numbers
from .install import cpu_kernel


@cpu_kernel(GatherPoints)
def gather(ctx, features, indices):
    """Features (B, C, M) of the points at indices (B, M)."""
    ctx.indices, ctx.count = indices, features.shape[-1]
    return _take('gather_points', features, indices)


@cpu_kernel(GatherPoints, 'backward')
def gather_backward(ctx, grad):
    """What each point gets back from where it was used."""
    return _give_back(grad, ctx.indices, ctx.count), None


@cpu_kernel(GroupingOperation)
def group(ctx, features, indices, *counts):
    """Features (B, C, M, K) of the points at indices (B, M, K).

    With counts, clouds are stacked: features (N, C) and indices (M, K) within
    each cloud give (M, C, K).
    """
    if len(counts) < 2 or None in counts:
        ctx.indices, ctx.count = indices, features.shape[-1]
        ctx.is_stacked = False
        return _take('grouping_operation', features, indices)
    rows = _stacked_rows(features, indices, counts)
    ctx.indices, ctx.count, ctx.is_stacked = rows, len(features), True
    # One batch of C channels over all points, and (1, C, M, K) out of it.
    flat = features.t().unsqueeze(0)
    taken = _take('grouping_operation', flat, rows)
    return taken[0].transpose(0, 1).contiguous()


@cpu_kernel(GroupingOperation, 'backward')
def group_backward(ctx, grad):
    """What each point gets back from the groups that it was in."""
    if not ctx.is_stacked:
        return _give_back(grad, ctx.indices, ctx.count), None, None, None
    grad = grad.transpose(0, 1).unsqueeze(0)
    grad = _give_back(grad, ctx.indices, ctx.count)
    return grad[0].t().contiguous(), None, None, None


def _stacked_rows(features, indices, counts):
    """Rows (1, M, K) in the stack of all clouds."""
    sizes, rows = (c.long() for c in counts)
    if sizes.sum() != len(features) or rows.sum() != len(indices):
        raise ValueError(
            f'grouping_operation got {len(features)} features in clouds of '
            f'{sizes.tolist()} and {len(indices)} groups in clouds of '
            f'{rows.tolist()}: the sums must be the numbers of rows.'
        )
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(rows)
    return (indices + starts[:, None]).unsqueeze(0)


def _take(name, features, indices):
    """Features (B, C, N) at indices (B, ...) as (B, C, ...)."""
    check_indices(name, features, indices)
    source = numbers(features)
    places = numbers(indices.flatten(1))
    out = np.empty((*source.shape[:2], places.shape[1]), source.dtype)
    each_channel(_copy, source, out, places)
    out = torch.from_numpy(out).to(features.dtype)
    return out.unflatten(2, indices.shape[1:])


def _give_back(grad, indices, count):
    """The gradient (B, C, N) that goes with `_take`."""
    source, places = numbers(grad.flatten(2)), numbers(indices.flatten(1))
    out = np.zeros((*source.shape[:2], count), source.dtype)
    each_channel(_add, source, out, places)
    return torch.from_numpy(out).to(grad.dtype)


def check_indices(name, features, indices) -> None:
    """Raises where an index points at nothing; the loops do not look."""
    if len(features) != len(indices):
        raise ValueError(
            f'{name} got features {tuple(features.shape)} and indices '
            f'{tuple(indices.shape)}: the first dimensions must be equal.'
        )
    if not indices.numel():
        return
    low, high = (int(bound) for bound in indices.aminmax())
    if low < 0 or high >= features.shape[-1]:
        raise ValueError(
            f'{name} got indices from {low} to {high} into features '
            f'{tuple(features.shape)}: only 0 to {features.shape[-1] - 1} '
            'exist. Drop empty clouds from the data.'
        )


@compiled
def _copy(source, out, places):
    for j in range(places.size):
        out[j] = source[places[j]]


@compiled
def _add(source, out, places):
    for j in range(places.size):
        out[places[j]] += source[j]
