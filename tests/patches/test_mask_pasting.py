"""Masks of boxes outside of the image, against mmdet's other way."""

import pytest
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead, fcn_mask_head
from mmengine.config import ConfigDict

import chex_mm.engine  # noqa: F401  (replaces the function)

HEIGHT, WIDTH = 20, 30
BOXES = {
    'inside': (5, 5, 15, 12),
    'across the edge': (20, 10, 40, 30),
    'touching the edge': (30, 5, 35, 12),
    'right of it': (33, 5, 40, 12),
    'below it': (5, 25, 9, 40),
    'left of it': (-9, 5, -3, 12),
    'above it': (5, -12, 9, -4),
}


def pasted(boxes, everywhere=False):
    """The masks of a head that predicts ones, (boxes, height, width)."""
    loss = dict(type='mmdet.CrossEntropyLoss', use_mask=True)
    head = FCNMaskHead(num_convs=0, num_classes=1, loss_mask=loss)
    found = torch.full((len(boxes), 1, 28, 28), 9.0)
    if everywhere:  # what mmdet does on CUDA
        mask, _ = fcn_mask_head._do_paste_mask(
            found.sigmoid(), boxes, HEIGHT, WIDTH, skip_empty=False
        )
        return mask >= 0.5
    return head._predict_by_feat_single(
        found,
        boxes,
        torch.zeros(len(boxes), dtype=torch.long),
        dict(ori_shape=(HEIGHT, WIDTH), scale_factor=(1.0, 1.0)),
        ConfigDict(mask_thr_binary=0.5),
        rescale=True,
    )


@pytest.mark.parametrize('place', BOXES)
def test_masks_are_those_of_the_whole_image(place):
    boxes = torch.tensor([BOXES[place]], dtype=torch.float32)
    found = pasted(boxes)
    assert found.shape == (1, HEIGHT, WIDTH)
    assert torch.equal(found, pasted(boxes, everywhere=True))
    assert bool(found.any()) == (place in ('inside', 'across the edge'))


def test_all_boxes_at_once():
    boxes = torch.tensor(list(BOXES.values()), dtype=torch.float32)
    assert torch.equal(pasted(boxes), pasted(boxes, everywhere=True))


def test_mmdet_itself_refuses_only_what_is_outside():
    stock = fcn_mask_head._do_paste_mask.__wrapped__
    masks = torch.ones(1, 1, 28, 28)
    refused = set()
    for place, box in BOXES.items():
        boxes = torch.tensor([box], dtype=torch.float32)
        try:
            stock(masks, boxes, HEIGHT, WIDTH)
        except RuntimeError:
            refused.add(place)
    assert refused == {'right of it', 'below it', 'left of it', 'above it'}


def test_it_is_replaced_once():
    before = fcn_mask_head._do_paste_mask
    chex_mm.patches.mask_pasting.allow_boxes_outside()
    assert fcn_mask_head._do_paste_mask is before
