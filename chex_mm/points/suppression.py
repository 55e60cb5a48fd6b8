"""Boxes that no box with a higher score overlaps, seen from above.

The overlap is mmcv's: corners count as inside a box up to a margin of 1 cm,
and everything is computed in float32.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from mmcv.ops.iou3d import nms3d, nms3d_normal

from .compiled import compiled, numbers
from .install import cpu_kernel

MARGIN = np.float32(1e-2)
TINY = np.float32(1e-8)
HALF = np.float32(0.5)
ZERO = np.float32(0)


@cpu_kernel(nms3d)
def kept_boxes(boxes, scores, iou_threshold):
    """Indices of the boxes to keep, the highest score first."""
    return _kept('nms3d', boxes, scores, iou_threshold)


@cpu_kernel(nms3d_normal)
def kept_upright_boxes(boxes, scores, iou_threshold):
    """The same with all boxes turned to the axes."""
    return _kept('nms3d_normal', boxes, scores, iou_threshold)


def _kept(name, boxes, scores, threshold):
    if boxes.dim() != 2 or boxes.shape[1] != 7 or len(boxes) != len(scores):
        raise ValueError(
            f'{name} needs boxes (N, 7) and scores (N,), found '
            f'{tuple(boxes.shape)} and {tuple(scores.shape)}.'
        )
    order = scores.sort(stable=True, descending=True)[1]
    ranked = numbers(boxes[order]).astype(np.float32, copy=False)
    keep = np.ones(len(ranked), np.bool_)
    _suppress(ranked, np.float32(threshold), name == 'nms3d', keep)
    return order[torch.from_numpy(keep)]


@compiled
def _suppress(boxes, threshold, is_turned, keep):
    for i in range(len(boxes)):
        if not keep[i]:
            continue
        for j in range(i + 1, len(boxes)):
            if keep[j] and _iou(boxes[i], boxes[j], is_turned) > threshold:
                keep[j] = False


@compiled
def _iou(a, b, is_turned):
    shared = _turned_overlap(a, b) if is_turned else _upright_overlap(a, b)
    return shared / max(a[3] * a[4] + b[3] * b[4] - shared, TINY)


@compiled
def _upright_overlap(a, b):
    area = np.float32(1)
    for axis in range(2):
        reach_a, reach_b = a[axis + 3] * HALF, b[axis + 3] * HALF
        low = max(a[axis] - reach_a, b[axis] - reach_b)
        high = min(a[axis] + reach_a, b[axis] + reach_b)
        area *= max(high - low, ZERO)
    return area


@compiled
def _turned_overlap(a, b):
    """The polygon of all crossings and of all corners in the other box."""
    corners_a, corners_b = _corners(a), _corners(b)
    polygon = np.empty((24, 3), np.float32)  # x, y, direction
    size = _add_crossings(corners_a, corners_b, polygon)
    for k in range(4):
        size = _add_if_inside(a, corners_b[k], polygon, size)
        size = _add_if_inside(b, corners_a[k], polygon, size)
    if size < 3:
        return ZERO
    _sort_around_centre(polygon, size)
    area = ZERO
    for k in range(1, size - 1):
        area += _turn(polygon[0], polygon[k], polygon[k + 1])
    return abs(area) * HALF


@compiled
def _corners(box):
    cosine, sine = math.cos(box[6]), math.sin(box[6])
    corners = np.empty((5, 2), np.float32)
    for k in range(5):
        dx = box[3] * (HALF if k in (1, 2) else -HALF)
        dy = box[4] * (HALF if k in (2, 3) else -HALF)
        corners[k, 0] = dx * cosine - dy * sine + box[0]
        corners[k, 1] = dx * sine + dy * cosine + box[1]
    return corners


@compiled
def _add_if_inside(box, point, polygon, size):
    cosine, sine = math.cos(box[6]), math.sin(box[6])
    dx, dy = point[0] - box[0], point[1] - box[1]
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
    reach_along = box[3] * HALF + MARGIN
    reach_across = box[4] * HALF + MARGIN
    if abs(along) < reach_along and abs(across) < reach_across:
        polygon[size, 0], polygon[size, 1] = point[0], point[1]
        size += 1
    return size


@compiled
def _turn(origin, p, q):
    """Twice the signed area of a triangle."""
    return (p[0] - origin[0]) * (q[1] - origin[1]) - (q[0] - origin[0]) * (
        p[1] - origin[1]
    )


@compiled
def _add_crossings(corners_a, corners_b, polygon):
    size = 0
    for i in range(4):
        p, q = corners_a[i], corners_a[i + 1]
        for j in range(4):
            r, s = corners_b[j], corners_b[j + 1]
            before, after = _turn(p, r, q), _turn(p, q, s)
            if before * after <= 0 or _turn(r, p, s) * _turn(r, s, q) <= 0:
                continue
            # before and after have one sign where r and s lie on two sides
            for axis in range(2):
                polygon[size, axis] = (after * r[axis] + before * s[axis]) / (
                    after + before
                )
            size += 1
    return size


@compiled
def _sort_around_centre(polygon, size):
    x, y = ZERO, ZERO
    for k in range(size):
        x += polygon[k, 0]
        y += polygon[k, 1]
    x, y = x / np.float32(size), y / np.float32(size)
    for k in range(size):
        polygon[k, 2] = math.atan2(polygon[k, 1] - y, polygon[k, 0] - x)
    for k in range(1, size):
        while k > 0 and polygon[k - 1, 2] > polygon[k, 2]:
            for column in range(3):
                moved = polygon[k, column]
                polygon[k, column] = polygon[k - 1, column]
                polygon[k - 1, column] = moved
            k -= 1
