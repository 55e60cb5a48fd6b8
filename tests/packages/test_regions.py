"""With shared regions nothing that a head computes goes unseen."""

import copy

import pytest
import torch

from chex_mm.cli.command_line import load_config
from chex_mm.engine.models.slim_model import plain_architecture
from chex_mm.packages.mmdet import SharedRegions
from chex_mm.packages.paths import generated_batch, run_paths
from chex_mm.surgery import compare

from ..engine.small_detectors import (
    FPN,
    NECK,
    RESNET,
    build_drawn,
    build_small,
)

# What mmdet calls on this torch.
pytestmark = pytest.mark.filterwarnings('ignore:torch.meshgrid')

STAGES = 3


def build_cascade():
    config = load_config('mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py')
    model = config.model
    model.backbone.update(RESNET)
    model.neck.update(FPN)
    model.rpn_head.update(in_channels=NECK, feat_channels=NECK)
    model.roi_head.bbox_roi_extractor.out_channels = NECK
    for head in model.roi_head.bbox_head:
        head.update(in_channels=NECK, fc_out_channels=64, num_classes=4)
    model.test_cfg.rpn.max_per_img = 20
    model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=20)
    config.model = plain_architecture(model)
    return build_drawn(config)


@pytest.fixture(scope='module')
def cascade():
    torch.manual_seed(0)
    model = build_cascade()
    return model, run_paths(model, generated_batch(model, (3, 96, 96)))


def difference(model, other, paths):
    return compare(model, other, SharedRegions(paths.cost))


LAYERS = [
    'rpn_head.rpn_conv',
    'rpn_head.rpn_cls',
    'rpn_head.rpn_reg',
    *(
        f'roi_head.bbox_head.{stage}.{layer}'
        for stage in range(STAGES)
        for layer in ('shared_fcs.0', 'fc_cls', 'fc_reg')
    ),
]


@pytest.mark.parametrize('name', LAYERS)
def test_a_wrong_layer_of_any_head_shows(name, cascade):
    model, paths = cascade
    wrong = copy.deepcopy(model)
    with torch.no_grad():
        wrong.get_submodule(name).weight.mul_(1.01)
    assert difference(model, wrong, paths).max_rel > 1e-4


def test_the_same_model_is_no_different(cascade):
    model, paths = cascade
    found = difference(model, copy.deepcopy(model), paths)
    assert found.max_abs == 0 and found.aligned


def test_boxes_are_refined_from_the_regions_of_the_first(cascade):
    model, paths = cascade
    other = copy.deepcopy(model)
    with torch.no_grad():  # shifts all proposals, and nothing else
        other.rpn_head.rpn_reg.bias.add_(0.1)
    predict = next(path for path in paths.also if path.mode == 'predict')
    shared = SharedRegions(predict)
    with torch.no_grad():
        boxes, computed = shared(model.eval())
        others, found = shared(other.eval())
    assert len(shared.regions) == STAGES
    (_, deltas), (_, moved) = computed[0], found[0]
    for one, two in zip(deltas, moved):
        torch.testing.assert_close(one + 0.1, two)
    torch.testing.assert_close(boxes, others)


def test_one_stage_has_no_regions_to_share():
    model = build_small('retinanet')
    path = run_paths(model, generated_batch(model, (3, 64, 64))).cost
    shared = SharedRegions(lambda model: path(model) and 'outputs')
    assert shared(model) == ('outputs', []) and shared.regions == []


def test_hooks_are_gone_after_an_error(cascade):
    model, _ = cascade

    def fail(model):
        raise ValueError('no image')

    with pytest.raises(ValueError, match='no image'):
        SharedRegions(fail)(model)
    assert not any(
        m._forward_hooks or m._forward_pre_hooks for m in model.modules()
    )
