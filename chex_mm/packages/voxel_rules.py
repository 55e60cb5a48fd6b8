"""Rules for voxels: what scatters points into them and crops out of them.

Where a point goes is data; what it carries keeps its channels.
"""

from __future__ import annotations

from mmcv.ops.roiaware_pool3d import RoIAwarePool3dFunction
from mmcv.ops.scatter_points import _DynamicScatter
from mmdet3d.models.data_preprocessors.voxelize import (
    _DynamicScatter as _MappedScatter,
)
from mmdet3d.models.middle_encoders import PointPillarsScatter

from ..trace.labels import spread
from ..trace.rules import rule, sizes


@rule(_DynamicScatter, _MappedScatter)
def scatter(flow, call):
    """Points of a voxel become one; where it is carries no channels."""
    if flow.has_channels(call['coors']):
        flow.pin(flow.labels(call['coors']), f'{call.place} scatters there')
    features, *places = call.out
    labels = spread(flow.vector(call['feats'], 1), features.shape, 1)
    return (labels, *(None for _ in places))


@rule(RoIAwarePool3dFunction)
def pool_regions(flow, call):
    """(points, channels) to (regions, x, y, z, channels)."""
    for name in ('rois', 'pts'):
        if flow.has_channels(call[name]):
            flow.pin(flow.labels(call[name]), f'{call.place} crops there')
    vector = flow.vector(call['pts_feature'], 1)
    return spread(vector, call.out.shape, call.out.ndim - 1)


@sizes(PointPillarsScatter)
def pillar_scatter(module, args):
    """It allocates its canvas by `in_channels`, the pillars' channels."""
    return {'in_channels': [(args[0], 1)]}
