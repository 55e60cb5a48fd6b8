"""The ready configs of mmdet3d keep their promises, as those of mmdet do.

One model is traced in the quick suite, all of them in the full one; clouds
are small, which changes no coupling. What holds for a graph holds for both
budgets of a model.
"""

import copy
import math
import re
from dataclasses import dataclass

import pytest
import torch

pytest.importorskip('mmdet3d', reason='the configs build models of mmdet3d')

from mmengine.config import Config  # noqa: E402
from mmengine.optim import build_optim_wrapper  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402
from torch import nn  # noqa: E402

from chex_mm import ChannelGraph, mask_channels, slim  # noqa: E402
from chex_mm.adopt.analysis import draw_vectors, random_keep, settle_norms  # noqa: E402
from chex_mm.budget.allocation import (  # noqa: E402
    AllocationSpace,
    uniform_counts,
)
from chex_mm.cli.command_line import load_config, use_scope  # noqa: E402
from chex_mm.deploy.slimming import build_model  # noqa: E402
from chex_mm.engine import CHEXHook  # noqa: E402
from chex_mm.engine.hooks import recipe  # noqa: E402
from chex_mm.packages.paths import generated_batch, run_paths, trace_detector  # noqa: E402
from chex_mm.surgery import compare  # noqa: E402

from .test_configs import CONFIGS, KEEP, hook_settings, values  # noqa: E402

ROOT = CONFIGS / 'mmdet3d'
QUICK = 'pointnet2/pointnet2_ssg_chex-{}_s3dis-seg'
VOTENET = {
    'bbox_head.vote_module.conv_out',
    'bbox_head.conv_pred.conv_cls',
    'bbox_head.conv_pred.conv_reg',
    'bbox_head.conv_pred.conv_reg#2',
}
SEGMENTATION = {'decode_head.conv_seg'}
ANCHORS = {f'bbox_head.conv_{kind}' for kind in ('cls', 'reg', 'dir_cls')}
# A config to the layers whose outputs nothing may cut; inputs come on top.
ENDS = {
    'votenet/votenet_chex-{}_scannet-3d': VOTENET,
    'votenet/votenet_chex-{}_sunrgbd-3d': VOTENET,
    'pointnet2/pointnet2_ssg_chex-{}_scannet-seg': SEGMENTATION,
    'pointnet2/pointnet2_msg_chex-{}_scannet-seg': SEGMENTATION,
    QUICK: SEGMENTATION,
    'pointnet2/pointnet2_msg_chex-{}_s3dis-seg': SEGMENTATION,
    'pointpillars/pointpillars_chex-{}_kitti-3d-3class': ANCHORS,
    'second/second_chex-{}_kitti-3d-3class': ANCHORS,
}
models = pytest.mark.parametrize('name', ENDS)
# What mmdet3d 1.4.0 and mmcv say about its own models on torch 2.11.
pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}:UserWarning')
    for message in (
        'Unnecessary conv bias before',
        'dir_offset and dir_limit_offset',
        'Using a non-tuple sequence',
        'To copy construct from a tensor',
        'DeprecationWarning. pos_bboxes',
        'torch.meshgrid',
    )
]


def load(name: str, cut: int) -> Config:
    return load_config(str(ROOT / f'{name.format(cut)}.py'))


def config_files() -> set[str]:
    return {str(path.relative_to(ROOT)) for path in ROOT.rglob('*.py')}


def test_every_config_is_tested():
    assert config_files() == {
        f'{name.format(cut)}.py' for name in ENDS for cut in KEEP
    }


def test_the_table_names_every_config():
    text = (CONFIGS / 'README.md').read_text()
    assert set(re.findall(r'\(mmdet3d/(\S+\.py)\)', text)) == config_files()


@models
def test_the_budget_is_the_only_difference(name):
    half, quarter = load(name, 50), load(name, 75)
    for config, keep in (half, 0.5), (quarter, 0.25):
        budget = hook_settings(config)['budget']
        assert (budget['type'], budget['keep']) == ('flops', keep)
    quarter.custom_hooks[-1].budget.keep = 0.5
    assert quarter.to_dict() == half.to_dict()


@models
def test_the_numbers_are_those_of_the_hook(name):
    settings = hook_settings(load(name, 50))
    assert (
        CHEXHook(**settings).settings == CHEXHook(settings['budget']).settings
    )


@models
def test_nothing_is_downloaded(name):
    config = load(name, 50)
    found = values(config.model)
    assert ('type', 'Pretrained') not in found
    assert not [v for _, v in found if isinstance(v, str) and '://' in v]
    assert not config.get('load_from')


def build(config: Config) -> nn.Module:
    use_scope(config)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        return build_model(config)


@models
def test_the_norm_recipe_is_met(name):
    config = load(name, 50)
    model = build(config).train()
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    scales = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }
    decay = {
        id(parameter): group['weight_decay']
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    assert scales
    assert {decay[scale] for scale in scales} == {0}
    assert max(decay.values()) > 0
    assert all(p.requires_grad for p in model.parameters())
    assert all((p != 0).any() for p in model.parameters() if id(p) in scales)


@dataclass
class Traced:
    config: Config
    model: nn.Module
    batch: dict
    graph: ChannelGraph


@pytest.fixture(
    scope='module',
    params=[
        pytest.param(n, marks=[] if n == QUICK else pytest.mark.slow)
        for n in ENDS
    ],
)
def name(request):
    return request.param


@pytest.fixture(scope='module')
def traced(name):
    config = load(name, 50)
    thin_out(config)
    model = build(config)
    draw_vectors(model)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        batch = generated_batch(model, config=config)
        graph = trace_detector(model, batch)
    return Traced(config, model, batch, graph)


def thin_out(config: Config) -> None:
    """A 16th of the points, and of the centres that features are found at."""
    dataset = config.train_dataloader.dataset
    for step in dataset.get('dataset', dataset).pipeline:
        if 'num_points' in step:
            step.num_points //= 16
    backbone = config.model.backbone
    if 'num_points' in backbone:
        backbone.num_points = tuple(n // 16 for n in backbone.num_points)
    aggregation = config.model.get('bbox_head', {}).get('vote_aggregation_cfg')
    if aggregation:
        aggregation.num_point //= 16
    if config.model.type == 'EncoderDecoder3D':
        config.model.test_cfg.num_points //= 16
        config.model.test_cfg.block_size = 8.0  # a whole room


def test_only_the_ends_are_pinned(name, traced):
    graph = traced.graph
    assert graph.unknown_ops == ()
    pinned = set(graph.groups) - set(graph.free)
    assert {n for n in pinned if not n.endswith('.input')} == ENDS[name]
    for group in pinned - ENDS[name]:
        # Coordinates, colours and heights.
        assert graph.groups[group].size <= 10


def test_the_recipe_of_explored_groups_is_met(traced):
    model = copy.deepcopy(traced.model).train()
    groups = traced.graph.free.values()
    recipe.check_trainable(model, groups)
    optimizer = build_optim_wrapper(model, traced.config.optim_wrapper)
    assert recipe.recipe_warnings(model, groups, optimizer.optimizer) == []


@pytest.mark.parametrize('cut', KEEP)
def test_the_budget_is_reachable(name, traced, cut):
    hook = CHEXHook(**hook_settings(load(name, cut)))
    given = (traced.graph, hook.budget, None, None, hook.settings.divisor)
    counts = uniform_counts(*given)
    share = AllocationSpace.build(*given).share(counts)
    assert 0.8 * KEEP[cut] < share <= KEEP[cut]


def test_the_narrow_model_equals_the_masked_one(traced):
    graph = traced.graph
    masked = copy.deepcopy(traced.model)
    generator = torch.Generator().manual_seed(0)
    paths = run_paths(copy.deepcopy(masked), traced.batch)
    settle_norms(masked, paths.cost, generator)
    counts = {n: math.ceil(0.6 * g.size) for n, g in graph.free.items()}
    keep = random_keep(graph, counts, generator)
    assert graph.flops(counts) < 0.5 * graph.flops()
    mask_channels(masked, graph, keep)
    narrow = slim(masked, graph, keep)
    difference = compare(masked, narrow, paths.cost)
    assert difference.aligned and difference.max_rel < 1e-4
