"""Points of a box pooled: into a grid of voxels, or as a list of points.

Points are taken in the order of their index until a place is full.
"""

from __future__ import annotations

import numpy as np
import torch
from mmcv.ops.points_in_boxes import points_in_boxes_cpu
from mmcv.ops.roiaware_pool3d import RoIAwarePool3dFunction
from mmcv.ops.roipoint_pool3d import RoIPointPool3dFunction

from .compiled import compiled, numbers
from .install import cpu_kernel


@cpu_kernel(RoIAwarePool3dFunction)
def pool_voxels(ctx, rois, pts, pts_feature, out_size, *limits):
    """Features (N, x, y, z, C) of the voxels of N boxes; empty ones are 0.

    Args:
        limits: How many points a voxel takes, plus one, and the mode: 0 for
            the maximum, 1 for the mean.
    """
    capacity, mode = limits
    sizes = (out_size,) * 3 if isinstance(out_size, int) else tuple(out_size)
    features = numbers(pts_feature)
    members = _members(rois, pts, sizes, capacity - 1)
    shape = (*members.shape[:2], features.shape[1])
    out = np.zeros(shape, features.dtype)
    source = np.full(shape, -1, np.int32)
    if mode == 0:
        _largest(features, members, out, source)
    else:
        _mean(features, members, out)
    ctx.members, ctx.source, ctx.mode = members, source, mode
    ctx.feature_shape = features.shape
    out = torch.from_numpy(out).to(pts_feature.dtype)
    return out.view(len(rois), *sizes, features.shape[1])


@cpu_kernel(RoIAwarePool3dFunction, 'backward')
def pool_voxels_backward(ctx, grad_out):
    """To the first largest point of a voxel, or to all its points."""
    given = numbers(grad_out)
    given = given.reshape(*ctx.members.shape[:2], given.shape[-1])
    out = np.zeros(ctx.feature_shape, given.dtype)
    if ctx.mode == 0:
        used = ctx.source >= 0
        channel = np.broadcast_to(np.arange(given.shape[-1]), given.shape)
        np.add.at(out, (ctx.source[used], channel[used]), given[used])
    else:
        box, voxel, place = np.nonzero(ctx.members >= 0)
        sizes = (ctx.members >= 0).sum(-1, keepdims=True)
        shares = given / np.maximum(sizes, 1).astype(given.dtype)
        np.add.at(out, ctx.members[box, voxel, place], shares[box, voxel])
    grad = torch.from_numpy(out).to(grad_out.dtype)
    return None, None, grad, None, None, None


def _members(rois, points, sizes, capacity):
    """(N, voxels, capacity): indices of the points of each voxel, else -1."""
    inside = numbers(points_in_boxes_cpu(points[None], rois[None])[0])
    boxes = numbers(rois).astype(np.float32, copy=False)
    points = numbers(points).astype(np.float32, copy=False)
    members = np.full((len(boxes), np.prod(sizes), capacity), -1, np.int32)
    for number, box in enumerate(boxes):
        index = np.nonzero(inside[:, number])[0]
        voxels = _voxels(points[index] - box[:3], box, np.array(sizes))
        order = np.argsort(voxels, kind='stable')
        voxels, index = voxels[order], index[order]
        places = np.arange(len(voxels)) - np.searchsorted(voxels, voxels)
        kept = places < capacity
        members[number, voxels[kept], places[kept]] = index[kept]
    return members


def _voxels(offsets, box, sizes):
    """The voxel, counted through x, y, z, of points in a box."""
    cosine, sine = np.cos(-box[6]), np.sin(-box[6])
    x, y, z = offsets.T
    local = np.stack(
        [
            x * cosine - y * sine + box[3] / 2,
            x * sine + y * cosine + box[4] / 2,
            z,
        ],
        1,
    )
    cells = (local / (box[3:6] / sizes.astype(np.float32))).astype(np.int64)
    cells = np.clip(cells, 0, sizes - 1)
    return (cells[:, 0] * sizes[1] + cells[:, 1]) * sizes[2] + cells[:, 2]


@compiled
def _largest(features, members, out, source):
    for box in range(out.shape[0]):
        for voxel in range(out.shape[1]):
            for point in members[box, voxel]:
                if point < 0:
                    break
                for channel in range(out.shape[2]):
                    value = features[point, channel]
                    known = source[box, voxel, channel] >= 0
                    if not known or value > out[box, voxel, channel]:
                        out[box, voxel, channel] = value
                        source[box, voxel, channel] = point


@compiled
def _mean(features, members, out):
    for box in range(out.shape[0]):
        for voxel in range(out.shape[1]):
            count = 0
            for point in members[box, voxel]:
                if point < 0:
                    break
                count += 1
                for channel in range(out.shape[2]):
                    out[box, voxel, channel] += features[point, channel]
            for channel in range(out.shape[2]):
                out[box, voxel, channel] /= max(count, 1)


@cpu_kernel(RoIPointPool3dFunction)
def pool_points(ctx, points, point_features, boxes3d, num_sampled_points=512):
    """Coordinates and features (B, M, samples, 3 + C), and which are empty.

    A box with too few points repeats them in turn; an empty one has zeros.
    """
    inside = points_in_boxes_cpu(points, boxes3d).transpose(1, 2)
    sizes = inside.sum(-1, keepdim=True)  # (B, M, 1)
    # A stable sort puts the points of a box first, in order.
    order = inside.sort(stable=True, descending=True)[1]
    place = torch.arange(num_sampled_points).expand(*sizes.shape[:2], -1)
    taken = sizes.clamp(max=num_sampled_points)
    index = order.gather(-1, place % taken.clamp(min=1))
    values = torch.cat((points.to(point_features), point_features), -1)
    batch = torch.arange(len(points)).view(-1, 1, 1)
    pooled = values[batch, index] * (sizes > 0).unsqueeze(-1)
    is_empty = (sizes.squeeze(-1) == 0).int()
    return pooled, is_empty
