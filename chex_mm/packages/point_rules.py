"""Rules for mmcv's point operators, which the dispatcher cannot see.

Which points are near, sampled or inside is decided on coordinates, which carry
no channels; what is gathered there keeps its channels.
"""

from __future__ import annotations

import torch
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
from mmcv.ops.roipoint_pool3d import RoIPointPool3dFunction
from mmcv.ops.three_interpolate import ThreeInterpolate
from mmcv.ops.three_nn import ThreeNN

from ..trace.labels import spread
from ..trace.rules import rule


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


def _pin_coordinates(flow, call, tensors, does: str) -> None:
    for tensor in tensors:
        if flow.has_channels(tensor):
            flow.pin(flow.labels(tensor), f'{call.place} {does} by it')
