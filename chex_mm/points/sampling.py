"""Which points to keep: the furthest from all that were kept before.

Where distances are equal, mmcv's CUDA kernels do not take the lowest index.
Thread t of a block looks at the points t, t + block, ...; then pairs of
threads are compared, those that differ in the highest bit first. So the first
of equals is that of the lowest (t with its bits reversed, index): points are
put in that order and the first maximum is taken.
"""

from __future__ import annotations

import numpy as np
import torch
from mmcv.ops.furthest_point_sample import (
    FurthestPointSampling,
    FurthestPointSamplingWithDist,
)

from .compiled import compiled_for_finite, in_parts, numbers
from .install import cpu_kernel

CHUNK = 256  # one vectorised sweep between two looks at the maximum
FAR = 1e10  # mmcv's distance of a point to no point


@cpu_kernel(FurthestPointSampling)
def furthest_points(ctx, points_xyz, num_points):
    """Indices (B, num_points) of points (B, N, 3), the first one 0."""
    points = numbers(points_xyz).astype(np.float32, copy=False)
    _check('furthest_point_sample', points, num_points)
    order = _order_of_equals(points.shape[1])
    # (B, 3, N): one coordinate after the other vectorises
    axes = np.ascontiguousarray(points[:, order].transpose(0, 2, 1))
    return _sample(ctx, _furthest_of_points, axes, order, num_points)


@cpu_kernel(FurthestPointSamplingWithDist)
def furthest_points_of_distances(ctx, points_dist, num_points):
    """The same from distances (B, N, N) between all points."""
    distances = numbers(points_dist).astype(np.float32, copy=False)
    _check('furthest_point_sample_with_dist', distances, num_points)
    order = _order_of_equals(distances.shape[1])
    distances = np.ascontiguousarray(distances[:, order][:, :, order])
    return _sample(ctx, _furthest_of_distances, distances, order, num_points)


def _sample(ctx, loop, values, order, num_points):
    chosen = np.zeros((len(values), max(num_points, 0)), np.int32)

    def part(first, last):
        for batch in range(first, last):
            loop(values[batch], chosen[batch])

    if chosen.size:
        in_parts(part, len(values))
        chosen = order[chosen]
    indices = torch.from_numpy(chosen)
    ctx.mark_non_differentiable(indices)
    return indices


def _check(name, values, num_points):
    if values.shape[1] == 0 and num_points > 0:
        raise ValueError(
            f'{name} found no point to choose {num_points} from: its input '
            f'has the shape {values.shape}. Drop empty clouds from the data.'
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f'{name} found NaN or infinity in its input of the shape '
            f'{values.shape}. Clean the clouds, or look for a diverged model.'
        )


def _order_of_equals(count: int) -> np.ndarray:
    """Indices in the order in which mmcv's CUDA kernel prefers them."""
    bits = min(max(count, 1).bit_length() - 1, 10)
    index = np.arange(count)
    thread = index % (1 << bits)
    turned = np.zeros_like(thread)
    for bit in range(bits):
        turned |= (thread >> bit & 1) << (bits - 1 - bit)
    return np.lexsort((index, turned)).astype(np.int32)


@compiled_for_finite
def _furthest_of_points(axes, chosen):
    xs, ys, zs = axes[0], axes[1], axes[2]
    nearest = np.full(xs.size, FAR, np.float32)
    last = 0
    for step in range(1, chosen.size):
        x, y, z = xs[last], ys[last], zs[last]
        best = np.float32(-1)
        at = 0
        for start in range(0, xs.size, CHUNK):
            stop = min(start + CHUNK, xs.size)
            largest = np.float32(-1)
            for k in range(start, stop):
                dx, dy, dz = xs[k] - x, ys[k] - y, zs[k] - z
                near = min(dx * dx + dy * dy + dz * dz, nearest[k])
                nearest[k] = near
                largest = max(largest, near)
            if largest > best:
                best, at = largest, start
        while nearest[at] != best:
            at += 1
        last = at
        chosen[step] = last


@compiled_for_finite
def _furthest_of_distances(distances, chosen):
    count = len(distances)
    nearest = np.full(count, FAR, np.float32)
    last = 0
    for step in range(1, chosen.size):
        best = np.float32(-1)
        row = distances[last]
        for k in range(count):
            near = min(row[k], nearest[k])
            nearest[k] = near
            if near > best:
                best = near
                last = k
        chosen[step] = last
