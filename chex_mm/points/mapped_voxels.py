"""mmdet3d's copy of mmcv's scatter, which tells the voxel of each point."""

from __future__ import annotations

from mmdet3d.models.data_preprocessors.voxelize import _DynamicScatter

from .install import cpu_kernel
from .voxels import scatter, scatter_backward, scattered


@cpu_kernel(_DynamicScatter)
def mapped_scatter(ctx, feats, coors, reduce_type='max', return_map=False):
    """As `scatter`; with a map also the row of each point, or -1."""
    if not return_map:
        return scatter(ctx, feats, coors, reduce_type)
    out, voxels, rows = scattered(ctx, feats, coors, reduce_type)
    ctx.mark_non_differentiable(voxels, rows)
    return out, voxels, rows


@cpu_kernel(_DynamicScatter, 'backward')
def mapped_scatter_backward(ctx, grad, grad_coors=None, grad_map=None):
    """As many gradients as `mapped_scatter` takes arguments."""
    return *scatter_backward(ctx, grad), None
