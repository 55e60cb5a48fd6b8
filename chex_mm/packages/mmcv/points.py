"""Rules for mmcv's operators on points, voxels and sparse tensors.

Which points are near, sampled or inside is decided on coordinates, which carry
no channels; what is gathered there keeps its channels.
"""

from __future__ import annotations

import torch
from mmcv.ops import sparse_functional
from mmcv.ops.assign_score_withk import AssignScoreWithK
from mmcv.ops.ball_query import BallQuery
from mmcv.ops.diff_iou_rotated import SortVertices
from mmcv.ops.furthest_point_sample import (
    FurthestPointSampling,
    FurthestPointSamplingWithDist,
)
from mmcv.ops.gather_points import GatherPoints
from mmcv.ops.group_points import GroupingOperation
from mmcv.ops.knn import KNN
from mmcv.ops.roiaware_pool3d import RoIAwarePool3dFunction
from mmcv.ops.roipoint_pool3d import RoIPointPool3dFunction
from mmcv.ops.scatter_points import _DynamicScatter
from mmcv.ops.sparse_conv import SparseConvolution
from mmcv.ops.three_interpolate import ThreeInterpolate
from mmcv.ops.three_nn import ThreeNN
from torch import nn

from ...surgery import attributes
from ...trace.labels import spread
from ...trace.rules import rule
from ..sparse import list_all_pairs, pool, sparse_convolution, widths

DIMS = -1, -2  # of a weight's (*kernel, in, out): those of out and of in
rule(sparse_functional.SparseMaxPoolFunction)(pool)


@rule(GatherPoints, GroupingOperation, ThreeInterpolate)
def gather(flow, call):
    """(batch, channels, points), or (points, channels) of stacked clouds.

    Every result has its channels along dimension 1.
    """
    features, *where = call.inputs
    _pin_coordinates(flow, call, where, 'gathers')
    return spread(flow.vector(features, 1), call.out.shape, 1)


@rule(
    BallQuery,
    KNN,
    ThreeNN,
    FurthestPointSampling,
    FurthestPointSamplingWithDist,
)
def locate(flow, call):
    """A distance of points that carry channels is a sum over them."""
    _pin_coordinates(flow, call, call.inputs, 'measures distances')
    return None


@rule(SortVertices)
def order(flow, call):
    """Which corner of a polygon follows another depends on all numbers."""
    _pin_coordinates(flow, call, call.inputs, 'sorts corners')
    return None


@rule(AssignScoreWithK)
def assemble(flow, call):
    """sum_m of scores (batch, centres, neighbours, m) times features.

    Features of points and of centres, (batch, points, m, channels), are
    subtracted, so that they are tied; kernels m are summed over.
    """
    points, centres = call['point_features'], call['center_features']
    _pin_coordinates(flow, call, (call['scores'], call['knn_idx']), 'sums')
    vector = flow.vector(points, 3)
    flow.tie(vector, flow.vector(centres, 3))
    return spread(vector, call.out.shape, 1)


@rule(RoIPointPool3dFunction)
def pool_points(flow, call):
    """Three coordinates are put in front of the features."""
    _pin_coordinates(flow, call, (call['points'], call['boxes3d']), 'crops')
    vector = flow.vector(call['point_features'], 2)
    vector = torch.cat([vector.new_zeros(3), vector])
    pooled, _ = call.out
    return spread(vector, pooled.shape, 3), None


# mmdet3d's own keeps what is in which voxel, too.
@rule(
    _DynamicScatter,
    'mmdet3d.models.data_preprocessors.voxelize._DynamicScatter',
)
def scatter(flow, call):
    """Points of a voxel become one; where it is carries no channels."""
    _pin_coordinates(flow, call, (call['coors'],), 'scatters')
    features, *places = call.out
    labels = spread(flow.vector(call['feats'], 1), features.shape, 1)
    return (labels, *(None for _ in places))


@rule(RoIAwarePool3dFunction)
def pool_regions(flow, call):
    """(points, channels) to (regions, x, y, z, channels)."""
    _pin_coordinates(flow, call, (call['rois'], call['pts']), 'crops')
    vector = flow.vector(call['pts_feature'], 1)
    return spread(vector, call.out.shape, call.out.ndim - 1)


@rule(
    sparse_functional.SparseConvFunction,
    sparse_functional.SparseInverseConvFunction,
    sparse_functional.SubMConvFunction,
)
def convolution(flow, call):
    """A sparse convolution, its pairs listed in a kernel map."""
    return sparse_convolution(flow, call, DIMS, list_all_pairs(call))


@attributes(SparseConvolution)
def convolution_widths(module: nn.Module) -> dict[str, int]:
    """Sizes of a sparse convolution."""
    return widths(module.weight, DIMS)


def _pin_coordinates(flow, call, tensors, does: str) -> None:
    for tensor in tensors:
        if flow.has_channels(tensor):
            flow.pin(flow.labels(tensor), f'{call.place} {does} by it')
