"""A detector of torchvision is cut exactly, whatever its regions are."""

import copy
from functools import partial

import pytest
import torch
from torchvision.models.detection import fasterrcnn_resnet50_fpn

import chex_mm
from chex_mm.surgery import compare
from chex_mm.trace.cuts import random_masks

SIZE = 128
PYRAMID = {
    'backbone.fpn.inner_blocks.3.0',
    'backbone.fpn.layer_blocks.3.0',
    'rpn.head.conv.0.0',
    'roi_heads.box_head.fc6',
    'roi_heads.box_head.fc7',
}


def features(model, images):
    """What is behind the pyramid, without a choice of regions."""
    maps = model.backbone(images)
    boxes = torch.tensor([[0.0, 0, 20, 30], [5, 5, 120, 90]])
    pooled = model.roi_heads.box_roi_pool(maps, [boxes], [(SIZE, SIZE)])
    scores, _ = model.rpn.head(list(maps.values()))
    return scores, model.roi_heads.box_predictor(
        model.roi_heads.box_head(pooled)
    )


@pytest.mark.slow
@pytest.mark.parametrize('least_score', [0.0, 2.0])
def test_its_pyramid_is_free(least_score):
    """Above a score of 1 there is no region, so that nothing is pooled."""
    torch.manual_seed(0)
    model = fasterrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=5,
        min_size=SIZE,
        max_size=SIZE,
        rpn_score_thresh=least_score,
    ).eval()
    image = torch.rand(3, SIZE, SIZE)
    graph = chex_mm.trace_channels(model, ([image],))
    assert PYRAMID <= set(graph.free)
    keep = random_masks(graph)
    masked = copy.deepcopy(model)
    chex_mm.mask_channels(masked, graph, keep)
    narrow = chex_mm.slim(model, graph, keep)
    run = partial(features, images=image[None])
    assert compare(masked, narrow, run).max_rel < 1e-4
