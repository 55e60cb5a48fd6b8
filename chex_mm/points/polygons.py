"""The corners of what two turned boxes share, in order around its centre.

Which corners there are is mmcv's to say, and so is the area; an order has no
gradient.
"""

from __future__ import annotations

import torch
from mmcv.ops.diff_iou_rotated import SortVertices

from .install import cpu_kernel

MOST = 8  # corners that four sides cut by four sides have
CORNERS = 8  # of the two boxes, in front of where their sides cross
NEAR = 1e-6  # corners count as one: equal boxes have each of theirs twice


@cpu_kernel(SortVertices)
def sort_corners(ctx, vertices, mask, num_valid):
    """Indices (B, N, 9) of corners around 0: A, B, C, ..., A, X, X.

    Args:
        ctx: Of the autograd function.
        vertices: (B, N, 24, 2), their mean at 0.
        mask: (B, N, 24), which of them are corners.
        num_valid: (B, N), how many.
    """
    angles = torch.atan2(vertices[..., 1], vertices[..., 0])
    order = angles.masked_fill(~mask, torch.inf).argsort(stable=True)
    is_corner = mask.gather(-1, order) & ~_repeated(vertices, order)
    # Those that stay in front, in the order that they have.
    order = order.gather(-1, (~is_corner).int().argsort(stable=True))
    count = is_corner.sum(-1, keepdim=True).clamp(max=MOST)
    # mmcv's are 0 where sides do not cross: nothing, for the area.
    nothing = CORNERS + mask[..., CORNERS:].int().argmin(-1, keepdim=True)
    place = torch.arange(MOST + 1)
    index = order[..., : MOST + 1].where(place < count, nothing)
    index = torch.where((place == count) & (count > 2), order[..., :1], index)
    index = index.where(count > 2, nothing).int()
    ctx.mark_non_differentiable(index)
    return index


def _repeated(vertices, order):
    """Which corners are where the one before is."""
    sorted_ = vertices.gather(2, order[..., None].expand(-1, -1, -1, 2))
    apart = (sorted_[..., 1:, :] - sorted_[..., :-1, :]).abs().amax(-1)
    return torch.nn.functional.pad(apart < NEAR, (1, 0))
