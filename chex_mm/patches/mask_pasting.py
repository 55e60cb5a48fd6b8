"""Masks of boxes outside of the image, which mmdet cannot paste on a CPU.

An untrained detector predicts such boxes (QueryInst), and a run from scratch
traces untrained predictions. On CUDA, and for all other boxes, pasting is as
it was.
"""

from __future__ import annotations

from functools import wraps

from mmdet.models.roi_heads.mask_heads import fcn_mask_head
from torch import Tensor


def allow_boxes_outside() -> None:
    """Replaces mmdet's function, once, by one that pastes nothing there."""
    stock = fcn_mask_head._do_paste_mask
    if hasattr(stock, '__wrapped__'):
        return

    @wraps(stock)
    def paste(masks, boxes, img_h, img_w, skip_empty=True):
        if skip_empty and is_outside(boxes, img_h, img_w):
            nowhere = slice(0, 0)
            return masks.new_zeros(len(masks), 0, 0), (nowhere, nowhere)
        return stock(masks, boxes, img_h, img_w, skip_empty)

    fcn_mask_head._do_paste_mask = paste


def is_outside(boxes: Tensor, height: int, width: int) -> bool:
    """Whether mmdet's region around `boxes` has a negative size.

    Args:
        boxes: (count, 4), left, top, right and bottom.
        height: Of the image.
        width: Of the image.
    """
    left, top = (boxes[:, :2].min(0).values.floor() - 1).clamp(min=0).tolist()
    right, bottom = (boxes[:, 2:].max(0).values.ceil() + 1).tolist()
    return left > min(right, width) or top > min(bottom, height)
