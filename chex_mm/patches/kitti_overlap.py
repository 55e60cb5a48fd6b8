"""How much boxes overlap from above, for KITTI's metric on a CPU.

mmdet3d's own module compiles for CUDA when it is imported, and the metric
imports it after all predictions are made. Without CUDA this one stands in its
place: the same function, the same numbers.
"""

from __future__ import annotations

import math
import sys
from functools import cache

import numba
import numpy as np
import torch
from mmengine.logging import print_log

from ..points.compiled import compiled

THEIRS = 'mmdet3d.evaluation.functional.kitti_utils.rotate_iou'


def stand_in() -> None:
    """Takes the place of mmdet3d's module where that cannot run.

    numba's simulator of CUDA runs it, slowly, if it is asked for.
    """
    if not (torch.cuda.is_available() or numba.config.ENABLE_CUDASIM):
        sys.modules.setdefault(THEIRS, sys.modules[__name__])


def rotate_iou_gpu_eval(boxes, query_boxes, criterion=-1, device_id=0):
    """Overlaps (N, K) of boxes (N, 5) with boxes (K, 5), in float32.

    The name and the arguments are mmdet3d's.

    Args:
        boxes: Rows of x, y, two sizes and an angle, clockwise.
        query_boxes: The same.
        criterion: What the shared area is divided by: -1 for the union, 0
            for the area of `query_boxes`, 1 for that of `boxes` (mmdet3d's
            kernel takes them in this order), any other for nothing.
        device_id: Without a meaning on a CPU.
    """
    _report_once()
    first, second = (
        np.ascontiguousarray(rows, np.float64) for rows in (boxes, query_boxes)
    )
    shared = np.zeros((len(first), len(second)))
    if shared.size:
        _shared_areas(first, second, shared)
    areas = np.prod(first[:, 2:4], 1)[:, None], np.prod(second[:, 2:4], 1)
    whole = {-1: areas[0] + areas[1] - shared, 0: areas[1], 1: areas[0]}
    with np.errstate(divide='ignore', invalid='ignore'):  # boxes of no size
        return (shared / whole.get(criterion, 1.0)).astype(np.float32)


@cache
def _report_once() -> None:
    print_log(
        "mmdet3d's overlap of rotated boxes is for CUDA only; on the CPU "
        "chex_mm's is used.",
        logger='current',
    )


@compiled
def _shared_areas(first, second, out):
    for i in range(len(first)):
        reach = math.hypot(first[i, 2], first[i, 3])
        for j in range(len(second)):
            apart = math.hypot(
                first[i, 0] - second[j, 0], first[i, 1] - second[j, 1]
            )
            # Circles around both boxes, of half their diagonals
            if 2 * apart <= reach + math.hypot(second[j, 2], second[j, 3]):
                out[i, j] = _shared_area(first[i], second[j])


@compiled
def _shared_area(box, other):
    """The first box cut along each side of the other."""
    # Eight corners at most; rounding may not double them at every side.
    polygon = np.empty((64, 2))
    cut = np.empty((64, 2))
    polygon[:4] = _corners(box)
    size, sides = 4, _corners(other)
    for k in range(4):
        size = _cut(polygon, size, sides[k], sides[(k + 1) % 4], cut)
        polygon, cut = cut, polygon
    area = 0.0
    for k in range(size):
        p, q = polygon[k], polygon[(k + 1) % size]
        area += p[0] * q[1] - p[1] * q[0]
    return area / 2


@compiled
def _corners(box):
    """(4, 2), each to the left of the side before."""
    cosine, sine = math.cos(box[4]), math.sin(box[4])
    corners = np.empty((4, 2))
    for k in range(4):
        x = box[2] / 2 if k in (1, 2) else -box[2] / 2
        y = box[3] / 2 if k in (2, 3) else -box[3] / 2
        corners[k, 0] = box[0] + cosine * x + sine * y
        corners[k, 1] = box[1] - sine * x + cosine * y
    return corners


@compiled
def _cut(polygon, size, start, stop, out):
    """Writes what lies left of a line; the number of its corners."""
    count = 0
    for k in range(size):
        p, q = polygon[k], polygon[(k + 1) % size]
        here, there = _side(start, stop, p), _side(start, stop, q)
        if here >= 0:
            out[count] = p
            count += 1
        if here * there < 0:
            out[count] = p + here / (here - there) * (q - p)
            count += 1
    return count


@compiled
def _side(start, stop, p):
    """Positive to the left of the line, zero on it."""
    along_x, along_y = stop[0] - start[0], stop[1] - start[1]
    return along_x * (p[1] - start[1]) - along_y * (p[0] - start[0])
