"""Which points are near: in a ball, the k nearest, the three nearest.

Squared distances are summed in the order x, y, z, and points are visited in
the order of their index, as in mmcv's CUDA kernels; that decides which of
equally near points is taken. NaN is near nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from mmcv.ops.ball_query import BallQuery
from mmcv.ops.knn import KNN
from mmcv.ops.three_nn import ThreeNN

from .compiled import compiled, in_parts, numbers
from .install import cpu_kernel

FAR = 1e10  # mmcv's distance of a neighbour that was not found


@dataclass(frozen=True)
class Clouds:
    """Centres, and for each the points among which to look.

    Row r looks at `points[starts[r]:stops[r]]`; indices count from there.
    """

    points: np.ndarray  # (all points, 3)
    centres: np.ndarray  # (rows, 3)
    starts: np.ndarray
    stops: np.ndarray

    @classmethod
    def batched(cls, name, points, centres):
        """Of points (B, N, 3) and centres (B, M, 3)."""
        shapes = tuple(points.shape), tuple(centres.shape)
        if points.shape[::2] != centres.shape[::2] or points.shape[-1] != 3:
            raise ValueError(
                f'{name} needs points (B, N, 3) and centres (B, M, 3), found '
                f'{shapes[0]} and {shapes[1]}.'
            )
        batch, count, rows = *points.shape[:2], centres.shape[1]
        starts = np.repeat(np.arange(batch) * count, rows)
        points, centres = points.reshape(-1, 3), centres.reshape(-1, 3)
        return cls(numbers(points), numbers(centres), starts, starts + count)

    @classmethod
    def stacked(cls, name, points, centres, counts):
        """Of clouds one after the other; `counts` for points and centres."""
        sizes, rows = (numbers(c).astype(np.int64) for c in counts)
        if (sizes.sum(), rows.sum()) != (len(points), len(centres)):
            raise ValueError(
                f'{name} got {len(points)} points in clouds of '
                f'{sizes.tolist()} and {len(centres)} centres in clouds of '
                f'{rows.tolist()}: the sums must be the numbers of rows.'
            )
        stops = np.cumsum(sizes)
        starts = np.repeat(stops - sizes, rows)
        stops = np.repeat(stops, rows)
        return cls(numbers(points), numbers(centres), starts, stops)

    def search(self, loop, limit, *outputs):
        """Runs `loop` up to a limit on all rows; it fills the outputs."""

        def part(first, last):
            rows = slice(first, last)
            clouds = (
                self.points,
                self.centres[rows],
                self.starts[rows],
                self.stops[rows],
            )
            loop(clouds, limit, *(out[rows] for out in outputs))

        in_parts(part, len(self.centres))


@cpu_kernel(BallQuery)
def points_in_ball(ctx, min_radius, max_radius, sample_num, *clouds):
    """The first points at min <= distance < max, or at the centre itself.

    What is missing repeats the first; a ball without points has zeros, and in
    stacked clouds, where only `max_radius` counts, -1 in its first place.

    Args:
        clouds: Points and centres; of stacked clouds also their sizes.
    """
    if not min_radius < max_radius:
        raise ValueError(
            f'ball_query needs min_radius < max_radius, found {min_radius} '
            f'and {max_radius}.'
        )
    points, centres, *counts = clouds
    is_stacked = len(counts) == 2 and None not in counts
    if is_stacked:
        min_radius = 0
        clouds = Clouds.stacked('ball_query', points, centres, counts)
    else:
        clouds = Clouds.batched('ball_query', points, centres)
    radii = np.float32([min_radius, max_radius])
    found = np.zeros((len(clouds.centres), sample_num), np.int32)
    sizes = np.zeros(len(found), np.int32)
    clouds.search(_first_in_ball, radii * radii, found, sizes)
    if is_stacked:
        found[sizes == 0, :1] = -1
    indices = torch.from_numpy(found).view(*centres.shape[:-1], sample_num)
    ctx.mark_non_differentiable(indices)
    return indices


@cpu_kernel(KNN)
def nearest_points(ctx, k, xyz, center_xyz=None, transposed=False):
    """Indices (B, k, M) of the k nearest points, the nearest first.

    Equals come in the order of the heap that mmcv uses; where fewer than k
    points exist, the last places hold 0. Of points with more than three
    numbers, features as DGCNN passes them, it reads what mmcv's kernel reads.
    """
    if not 0 < k < 100:
        raise ValueError(f'knn needs 0 < k < 100, as mmcv does; found {k}.')
    centres = xyz if center_xyz is None else center_xyz
    if transposed:
        xyz, centres = xyz.transpose(1, 2), centres.transpose(1, 2)
    if xyz.shape[-1] == centres.shape[-1] > 3:
        xyz, centres = _three_by_three(xyz), _three_by_three(centres)
    clouds = Clouds.batched('knn', xyz, centres)
    found = np.zeros((len(clouds.centres), k), np.int32)
    clouds.search(_nearest, k, found)
    indices = torch.from_numpy(found).view(*centres.shape[:2], k)
    indices = indices.transpose(1, 2).contiguous()
    ctx.mark_non_differentiable(indices)
    return indices


def _three_by_three(points):
    """The first numbers in memory, three for each point of the batch."""
    batch, count = points.shape[:2]
    first = points.reshape(-1)[: batch * count * 3]
    return first.view(batch, count, 3)


@cpu_kernel(ThreeNN)
def three_nearest_points(ctx, target, source):
    """Distances and indices (B, N, 3) of the three nearest in `source`.

    Where fewer than three exist, the distance is infinite and the index 0.
    """
    clouds = Clouds.batched('three_nn', source, target)
    squares = np.full((len(clouds.centres), 3), np.inf, clouds.points.dtype)
    found = np.zeros(squares.shape, np.int32)
    clouds.search(_three_nearest, 3, squares, found)
    distances = torch.from_numpy(np.sqrt(squares)).view(target.shape)
    indices = torch.from_numpy(found).view(target.shape)
    ctx.mark_non_differentiable(indices)
    return distances.to(target.dtype), indices


@compiled
def _square(points, k, centre):
    x, y, z = (
        centre[0] - points[k, 0],
        centre[1] - points[k, 1],
        centre[2] - points[k, 2],
    )
    return x * x + y * y + z * z


@compiled
def _first_in_ball(clouds, limits, found, sizes):
    points, centres, starts, stops = clouds
    low, high = limits[0], limits[1]
    wanted = found.shape[1]
    for row in range(len(centres)):
        count = 0
        for k in range(starts[row], stops[row]):
            square = _square(points, k, centres[row])
            if square == 0 or (square >= low and square < high):
                if count == wanted:
                    break
                found[row, count] = k - starts[row]
                count += 1
        sizes[row] = count
        if count:
            found[row, count:] = found[row, 0]


@compiled
def _nearest(clouds, wanted, found):
    points, centres, starts, stops = clouds
    squares = np.empty(wanted, np.float32)
    for row in range(len(centres)):
        indices = found[row]
        squares[:] = FAR
        for k in range(starts[row], stops[row]):
            square = _square(points, k, centres[row])
            if square < squares[0]:
                squares[0] = square
                indices[0] = k - starts[row]
                _sift_down(squares, indices, wanted)
        for last in range(wanted - 1, 0, -1):
            _exchange(squares, indices, 0, last)
            _sift_down(squares, indices, last)


@compiled
def _sift_down(squares, indices, size):
    """Puts the root of a heap, the largest first, in its place."""
    root, child = 0, 1
    while child < size:
        if child + 1 < size and squares[child + 1] > squares[child]:
            child += 1
        if squares[root] > squares[child]:
            return
        _exchange(squares, indices, root, child)
        root, child = child, 2 * child + 1


@compiled
def _exchange(squares, indices, a, b):
    squares[a], squares[b] = squares[b], squares[a]
    indices[a], indices[b] = indices[b], indices[a]


@compiled
def _three_nearest(clouds, wanted, squares, found):
    points, centres, starts, stops = clouds
    for row in range(len(centres)):
        best, indices = squares[row], found[row]
        for k in range(starts[row], stops[row]):
            square = _square(points, k, centres[row])
            place = wanted
            while place > 0 and square < best[place - 1]:
                place -= 1
            if place == wanted:
                continue
            for later in range(wanted - 1, place, -1):
                best[later] = best[later - 1]
                indices[later] = indices[later - 1]
            best[place] = square
            indices[place] = k - starts[row]
