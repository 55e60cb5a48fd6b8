"""Points of one voxel reduced to one feature vector, and back.

mmdet3d has a copy of mmcv's function, which also tells whose each point is.
"""

from __future__ import annotations

import numpy as np
import torch
from mmcv.ops.scatter_points import _DynamicScatter

from .compiled import compiled, numbers
from .install import cpu_kernel

REDUCTIONS = ('sum', 'mean', 'max')


@cpu_kernel(_DynamicScatter)
def scatter(ctx, feats, coors, reduce_type='max'):
    """Features (M, C) of the voxels that hold points, and their coordinates.

    Voxels are sorted by coordinates; points with a negative one are in none.
    """
    out, voxels, _ = scattered(ctx, feats, coors, reduce_type)
    ctx.mark_non_differentiable(voxels)
    return out, voxels


def scattered(ctx, feats, coors, reduce_type):
    """The same, and for each point the row of its voxel or -1."""
    if reduce_type not in REDUCTIONS:
        raise ValueError(
            f'dynamic_scatter reduces by {REDUCTIONS}, found {reduce_type!r}.'
        )
    ctx.reduce_type, ctx.dtype = reduce_type, feats.dtype
    voxels, owner = _voxels(coors)
    sizes = np.bincount(owner[owner >= 0], minlength=len(voxels))
    features = numbers(feats)
    shape = (len(voxels), feats.shape[1])
    first = np.full(shape, -1, np.int64)
    if reduce_type == 'max':
        out = np.full(shape, -np.inf, features.dtype)
        _largest(features, owner, out, first)
    else:
        out = np.zeros(shape, features.dtype)
        _sum(features, owner, out)
    if reduce_type == 'mean':
        out /= sizes[:, None].astype(out.dtype)
    ctx.owner, ctx.sizes, ctx.first = owner, sizes, first
    rows = torch.from_numpy(owner.astype(np.int32))
    return torch.from_numpy(out).to(feats.dtype), voxels, rows


@cpu_kernel(_DynamicScatter, 'backward')
def scatter_backward(ctx, grad, grad_coors=None):
    """To all points of a voxel, or to the first of its largest."""
    given = numbers(grad)
    out = np.zeros((len(ctx.owner), given.shape[1]), given.dtype)
    if ctx.reduce_type == 'max':
        _give_back(given, ctx.first, out)
    else:
        if ctx.reduce_type == 'mean':
            given = given / ctx.sizes[:, None].astype(given.dtype)
        inside = ctx.owner >= 0
        out[inside] = given[ctx.owner[inside]]
    return torch.from_numpy(out).to(ctx.dtype), None, None


def _voxels(coors):
    """Sorted distinct coordinates, and for each point its row or -1."""
    coors = numbers(coors)
    inside = np.nonzero((coors >= 0).all(1))[0]
    order = inside[np.lexsort(coors[inside].T[::-1])]
    ranked = coors[order]
    is_first = np.ones(len(ranked), bool)
    is_first[1:] = (ranked[1:] != ranked[:-1]).any(1)
    owner = np.full(len(coors), -1, np.int64)
    owner[order] = np.cumsum(is_first) - 1
    return torch.from_numpy(ranked[is_first]), owner


@compiled
def _largest(features, owner, out, first):
    for point in range(len(features)):
        voxel = owner[point]
        if voxel < 0:
            continue
        for channel in range(features.shape[1]):
            value = features[point, channel]
            if value > out[voxel, channel]:
                out[voxel, channel] = value
                first[voxel, channel] = point


@compiled
def _sum(features, owner, out):
    for point in range(len(features)):
        voxel = owner[point]
        if voxel >= 0:
            for channel in range(features.shape[1]):
                out[voxel, channel] += features[point, channel]


@compiled
def _give_back(given, first, out):
    for voxel in range(len(given)):
        for channel in range(given.shape[1]):
            point = first[voxel, channel]
            if point >= 0:
                out[point, channel] = given[voxel, channel]
