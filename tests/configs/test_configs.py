"""The ready configs keep their promises: from scratch, in budget, exact.

One detector is built and traced in the quick suite, all of them in the full
one. What holds for a graph holds for both budgets of a detector.
"""

import copy
import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from chex_mm import ChannelGraph, mask_channels, slim
from chex_mm.budget.allocation import AllocationSpace, uniform_counts
from chex_mm.deploy.slimming import build_model
from chex_mm.engine import CHEXHook
from chex_mm.engine.hooks import recipe
from chex_mm.engine.models.masked_backbone import marked_scopes
from chex_mm.packages.paths import generated_batch, run_paths, trace_detector
from chex_mm.surgery import compare

CONFIGS = Path(__file__).parents[2] / 'configs'
QUICK = 'rtmdet/rtmdet_tiny'
# Detector to the channels at its two ends, which nothing may cut.
ENDS = {
    'retinanet/retinanet_r50_fpn': {
        'backbone.conv1.input',
        'bbox_head.retina_cls',
        'bbox_head.retina_reg',
    },
    'faster_rcnn/faster_rcnn_r50_fpn': {
        'backbone.conv1.input',
        'rpn_head.rpn_cls',
        'rpn_head.rpn_reg',
        'roi_head.bbox_head.fc_cls',
        'roi_head.bbox_head.fc_reg',
    },
    'mask_rcnn/mask_rcnn_r50_fpn': {
        'backbone.conv1.input',
        'rpn_head.rpn_cls',
        'rpn_head.rpn_reg',
        'roi_head.bbox_head.fc_cls',
        'roi_head.bbox_head.fc_reg',
        'roi_head.mask_head.conv_logits',
    },
    'ssd/ssd300_r50': {
        'backbone.conv1.input',
        *(
            f'bbox_head.{c}_convs.{i}.0'
            for c in ('cls', 'reg')
            for i in range(6)
        ),
    },
    'rtmdet/rtmdet_tiny': {
        'backbone.stem.0.conv.input',
        *(f'bbox_head.rtm_{c}.{i}' for c in ('cls', 'reg') for i in range(3)),
    },
}
KEEP = {50: 0.5, 75: 0.25}  # a name says what is taken away

pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in (
        'pkg_resources is deprecated:UserWarning',
        'torch.meshgrid:UserWarning',
        '`torch.cuda.amp:FutureWarning',
    )
]
detectors = pytest.mark.parametrize('detector', ENDS)


def load(detector: str, cut: int) -> Config:
    return Config.fromfile(CONFIGS / f'mmdet/{detector}_chex-{cut}_coco.py')


def hook_settings(config: Config) -> dict:
    (hook,) = (h for h in config.custom_hooks if h.type == 'CHEXHook')
    return {key: value for key, value in hook.items() if key != 'type'}


def values(node) -> list:
    """Every (key, value) in a nested config."""
    if isinstance(node, dict):
        found = list(node.items())
        return found + [v for child in node.values() for v in values(child)]
    if isinstance(node, (list, tuple)):
        return [v for child in node for v in values(child)]
    return []


def test_every_config_is_tested():
    files = {
        str(path.relative_to(CONFIGS / 'mmdet'))
        for path in (CONFIGS / 'mmdet').rglob('*.py')
    }
    assert files == {f'{d}_chex-{cut}_coco.py' for d in ENDS for cut in KEEP}


def test_the_table_names_every_config():
    text = (CONFIGS / 'README.md').read_text()
    linked = set(re.findall(r'\((mmdet/\S+\.py)\)', text))
    assert linked == {
        str(path.relative_to(CONFIGS))
        for path in (CONFIGS / 'mmdet').rglob('*.py')
    }


@detectors
def test_the_budget_is_the_only_difference(detector):
    half, quarter = load(detector, 50), load(detector, 75)
    for config, keep in (half, 0.5), (quarter, 0.25):
        assert hook_settings(config)['budget']['keep'] == keep
    quarter.custom_hooks[-1].budget.keep = 0.5
    assert quarter.to_dict() == half.to_dict()


@detectors
def test_the_numbers_are_those_of_the_hook(detector):
    settings = hook_settings(load(detector, 50))
    budget = settings['budget']
    assert CHEXHook(**settings).settings == CHEXHook(budget).settings
    assert budget['type'] == 'flops'


@detectors
def test_nothing_is_downloaded_or_frozen(detector):
    config = load(detector, 50)
    found = values(config.model)
    assert ('type', 'Pretrained') not in found
    assert not [v for _, v in found if isinstance(v, str) and '://' in v]
    assert not config.get('load_from')
    named = {key: value for key, value in found if key == 'frozen_stages'}
    assert set(named.values()) <= {-1}


@dataclass
class Traced:
    config: Config
    model: nn.Module
    batch: dict
    graph: ChannelGraph


@pytest.fixture(
    scope='module',
    params=[
        pytest.param(d, marks=[] if d == QUICK else pytest.mark.slow)
        for d in ENDS
    ],
)
def detector(request):
    return request.param


@pytest.fixture(scope='module')
def traced(detector):
    config = load(detector, 50)
    _find_something(config.model)
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        model = build_model(config)
        # SSD's last map is 1 x 1 at its own size only.
        side = 300 if detector.startswith('ssd') else 160
        batch = generated_batch(model, (3, side, side))
        graph = trace_detector(model, batch)
    return Traced(config, model, batch, graph)


def _find_something(model):
    """Makes a model that knows nothing return detections, of few regions."""
    train, test = model.train_cfg, model.test_cfg
    if 'rpn' in test:
        train.rpn_proposal.max_per_img = test.rpn.max_per_img = 200
        train.rcnn.sampler.num = 32
        test = test.rcnn
    test.update(score_thr=0.0, max_per_img=20)


def test_only_the_ends_are_pinned(detector, traced):
    graph = traced.graph
    assert graph.unknown_ops == ()
    assert set(graph.groups) - set(graph.free) == ENDS[detector]


def test_the_norm_recipe_is_met(traced):
    model = copy.deepcopy(traced.model).train()
    groups = traced.graph.free.values()
    recipe.check_trainable(model, groups)
    optimizer = build_optim_wrapper(model, traced.config.optim_wrapper)
    assert recipe.recipe_warnings(model, groups, optimizer.optimizer) == []
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    assert all(norm.training for norm in norms)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize('cut', KEEP)
def test_the_budget_is_reachable(detector, traced, cut):
    hook = CHEXHook(**hook_settings(load(detector, cut)))
    scope = marked_scopes(traced.model) or None
    given = (traced.graph, hook.budget, scope, None, hook.settings.divisor)
    counts = uniform_counts(*given)
    share = AllocationSpace.build(*given).share(counts)
    assert 0.8 * KEEP[cut] < share <= KEEP[cut]


def test_the_narrow_model_equals_the_masked_one(traced):
    graph = traced.graph
    masked = revert_sync_batchnorm(copy.deepcopy(traced.model))
    _randomise_norms(masked)
    counts = {n: math.ceil(0.6 * g.size) for n, g in graph.free.items()}
    keep = {
        n: torch.randperm(graph.groups[n].size) < k for n, k in counts.items()
    }
    assert graph.flops(counts) < 0.5 * graph.flops()
    mask_channels(masked, graph, keep)
    narrow = slim(masked, graph, keep)
    paths = run_paths(copy.deepcopy(masked), traced.batch)
    outputs = compare(masked, narrow, paths.cost)
    predictions = compare(masked, narrow, paths.also[0])
    assert outputs.aligned and outputs.max_abs < 1e-5
    # Boxes are in pixels.
    assert predictions.aligned and predictions.max_rel < 1e-5


@torch.no_grad()
def _randomise_norms(model):
    """With the first values, 0 and 1, many a wrong cut would not show."""
    for module in model.modules():
        if isinstance(module, (_BatchNorm, nn.GroupNorm)):
            module.weight.uniform_(0.3, 1)
            module.bias.normal_(0, 0.1)
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
