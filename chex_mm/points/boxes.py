"""Points in boxes, and boxes that others suppress.

Which points a box holds is asked of mmcv's own `points_in_boxes_cpu`, so that
there is one answer.
"""

from __future__ import annotations

import torch
from mmcv.ops.points_in_boxes import (
    points_in_boxes_all,
    points_in_boxes_cpu,
    points_in_boxes_part,
)

from .install import cpu_kernel


@cpu_kernel(points_in_boxes_all)
def is_in_each_box(points, boxes):
    """(B, M, T), 1 where point m is in box t."""
    return points_in_boxes_cpu(points, boxes).contiguous()


@cpu_kernel(points_in_boxes_part)
def first_box_around(points, boxes):
    """(B, M), the first box that holds the point, or -1."""
    inside = points_in_boxes_cpu(points, boxes)
    if not boxes.shape[1]:
        return inside.new_full(inside.shape[:2], -1)
    found, first = inside.max(-1)  # the first of equals
    return torch.where(found > 0, first, -1).int()
