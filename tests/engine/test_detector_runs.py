"""Runs on point clouds keep the promises that runs on images keep.

Short runs of both demos, of Mask R-CNN on a few images and of VoteNet on a
few rooms: resumed bit for bit, the same on two ranks, and the same model again
from its slim config.
"""

import socket
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import distributed, multiprocessing

from chex_mm.cli.command_line import build_runner, load_config, use_scope
from chex_mm.deploy.slim_directory import write_directory
from chex_mm.deploy.slimming import slim_checkpoint
from chex_mm.engine.datasets.synthetic import write_shapes
from chex_mm.engine.datasets.synthetic_rooms import write_rooms
from chex_mm.surgery import compare

from .toy_runs import become_rank, differences, everything, hook_of

CONFIGS = Path(__file__).parents[2] / 'configs'
ITERATIONS, RANKS = 8, 2
WRITERS = {
    'demo/mask_rcnn_demo_chex.py': write_shapes,
    'demo3d/votenet_demo_chex.py': write_rooms,
}
pytestmark = [
    pytest.mark.slow,
    # What mmcv says about VoteNet's layers, mmengine about a second run.
    pytest.mark.filterwarnings(
        'ignore:Unnecessary conv bias before:UserWarning',
        'ignore:.*instance named of visualizer has been created:UserWarning',
    ),
]


@HOOKS.register_module()
class RecordMasks(Hook):
    """Copies masks and weights after every iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.states = []

    def after_train_iter(self, runner, **_):
        weights = {
            name: parameter.detach().clone()
            for name, parameter in runner.model.named_parameters()
        }
        masks = {
            k: v.clone() for k, v in hook_of(runner).explorer.keep.items()
        }
        self.states.append({**weights, **masks})


@pytest.fixture(scope='module', params=WRITERS)
def demo(request, tmp_path_factory):
    """The name of a demo's config, and a few samples for it."""
    if 'demo3d' in request.param:
        pytest.importorskip('mmdet3d', reason='the model is one of mmdet3d')
    root = tmp_path_factory.mktemp('demo') / 'data'
    WRITERS[request.param](str(root), {'train': 6, 'val': 2})
    return request.param, f'{root}/'


def config_of(demo, work_dir, **changes):
    """A demo's config, four steps in eight iterations."""
    name, data = demo
    config = load_config(str(CONFIGS / name))
    use_scope(config)
    for loader in ('train_dataloader', 'test_dataloader'):
        config[loader].dataset.data_root = data
    if 'ann_file' in config.test_evaluator:
        config.test_evaluator.ann_file = f'{data}val.json'
    config.train_dataloader.batch_size = 2
    config.train_cfg.max_iters = ITERATIONS
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config.default_hooks.checkpoint.interval = 1
    config.default_hooks.pop('visualization', None)
    config.custom_hooks.append(dict(type='RecordMasks'))
    config.randomness = dict(seed=3)
    config.work_dir, config.launcher = str(work_dir), 'none'
    config.merge_from_dict(changes)
    return config


def train(demo, work_dir, **changes):
    runner = build_runner(config_of(demo, work_dir, **changes))
    runner.train()
    return runner


def states_of(runner):
    return next(h for h in runner.hooks if isinstance(h, RecordMasks)).states


@pytest.mark.parametrize('execution', ['masked', 'compact'])
def test_it_resumes_bit_for_bit(tmp_path, demo, execution):
    changes = {'custom_hooks.0.execution': execution}
    whole = train(demo, tmp_path / 'whole', **changes)
    assert hook_of(whole).explorer.schedule == (1, 2, 3, 4)
    expected = everything(whole)
    for number in (2, 6):
        path = str(tmp_path / 'whole' / f'iter_{number}.pth')
        resumed = train(
            demo,
            tmp_path / f'from_{number}',
            load_from=path,
            resume=True,
            **changes,
        )
        assert differences(everything(resumed), expected) == []


def test_the_slim_config_builds_the_same_model(tmp_path, demo):
    train(demo, tmp_path)
    config = config_of(demo, tmp_path)
    checkpoint = str(tmp_path / f'iter_{ITERATIONS}.pth')
    slimmed = slim_checkpoint(config, checkpoint)
    report = write_directory(tmp_path / 'slim', config, slimmed)
    assert 0.4 < report['flops']['slim'] / report['flops']['dense'] <= 0.5
    again = load_config(str(tmp_path / 'slim' / 'slim_config.py'))
    again.load_from = str(tmp_path / 'slim' / 'slim.pth')
    again.work_dir, again.launcher = str(tmp_path / 'test'), 'none'
    runner = build_runner(again)
    runner.load_or_resume()
    batch = next(iter(runner.test_dataloader))

    def run(model):
        return [scores_of(sample) for sample in model.test_step(batch)]

    found = compare(slimmed.narrow, runner.model, run)
    assert found.max_abs == 0
    assert sum(map(len, run(runner.model))) > 0


def scores_of(sample):
    if 'pred_instances_3d' in sample:
        return sample.pred_instances_3d.scores_3d
    return sample.pred_instances.scores


def run_rank(rank, work_dir, demo, port):
    """What one process does."""
    become_rank(rank, RANKS, port)
    runner = train(demo, work_dir, launcher='pytorch')
    torch.save(states_of(runner), work_dir / f'rank_{rank}.pt')
    distributed.destroy_process_group()


def test_ranks_hold_identical_masks_and_weights(tmp_path, demo):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(run_rank, (tmp_path, demo, port), nprocs=RANKS)
    one, other = (
        torch.load(tmp_path / f'rank_{rank}.pt') for rank in range(RANKS)
    )
    assert len(one) == len(other) == ITERATIONS
    for iteration, (a, b) in enumerate(zip(one, other)):
        for name in a:
            assert torch.equal(a[name], b[name]), (iteration, name)
    masks = [name for name in one[0] if one[0][name].dtype == torch.bool]
    assert any(
        not torch.equal(a[name], b[name])
        for a, b in zip(one, one[1:])
        for name in masks
    )
