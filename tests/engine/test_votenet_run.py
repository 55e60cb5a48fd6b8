"""A run on point clouds keeps the promises that a run on images keeps.

A short run of the demo's VoteNet, on a few rooms: resumed bit for bit, the
same on two ranks, and the same model again from its slim config.
"""

import os
import socket
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmdet3d', reason='the model is one of mmdet3d')

from mmengine.hooks import Hook  # noqa: E402
from mmengine.registry import HOOKS  # noqa: E402
from torch import distributed, multiprocessing  # noqa: E402

from chex_mm.engine.command_line import (  # noqa: E402
    build_runner,
    load_config,
    use_scope,
)
from chex_mm.engine.datasets.synthetic_rooms import write_rooms  # noqa: E402
from chex_mm.engine.deploy import slim_checkpoint  # noqa: E402
from chex_mm.engine.slim_directory import write_directory  # noqa: E402
from chex_mm.surgery import compare  # noqa: E402

from .toy_runs import differences, everything, hook_of  # noqa: E402

CONFIG = Path(__file__).parents[2] / 'configs/demo3d/votenet_demo_chex.py'
ITERATIONS, RANKS = 8, 2
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


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('votenet') / 'rooms'
    write_rooms(str(root), {'train': 6, 'val': 2})
    return f'{root}/'


def votenet(work_dir, data, **changes):
    """The demo's config, four steps in eight iterations."""
    config = load_config(str(CONFIG))
    use_scope(config)
    for name in ('train_dataloader', 'test_dataloader'):
        config[name].dataset.data_root = data
    config.train_dataloader.batch_size = 2
    config.train_cfg.max_iters = ITERATIONS
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config.default_hooks.checkpoint.interval = 1
    config.default_hooks.pop('visualization')
    config.custom_hooks.append(dict(type='RecordMasks'))
    config.randomness = dict(seed=3)
    config.work_dir, config.launcher = str(work_dir), 'none'
    config.merge_from_dict(changes)
    return config


def train(work_dir, data, **changes):
    runner = build_runner(votenet(work_dir, data, **changes))
    runner.train()
    return runner


def states_of(runner):
    return next(h for h in runner.hooks if isinstance(h, RecordMasks)).states


@pytest.mark.parametrize('execution', ['masked', 'compact'])
def test_it_resumes_bit_for_bit(tmp_path, data, execution):
    changes = {'custom_hooks.0.execution': execution}
    whole = train(tmp_path / 'whole', data, **changes)
    assert hook_of(whole).schedule == (1, 2, 3, 4)
    expected = everything(whole)
    for number in (2, 6):
        path = str(tmp_path / 'whole' / f'iter_{number}.pth')
        resumed = train(
            tmp_path / f'from_{number}',
            data,
            load_from=path,
            resume=True,
            **changes,
        )
        assert differences(everything(resumed), expected) == []


def test_the_slim_config_builds_the_same_model(tmp_path, data):
    train(tmp_path, data)
    config = votenet(tmp_path, data)
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
        results = model.test_step(batch)
        return [sample.pred_instances_3d.scores_3d for sample in results]

    found = compare(slimmed.narrow, runner.model, run)
    assert found.max_abs == 0
    assert sum(map(len, run(runner.model))) > 0


def run_rank(rank, work_dir, data, port):
    """What one process does."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(RANKS),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    runner = train(work_dir, data, launcher='pytorch')
    torch.save(states_of(runner), work_dir / f'rank_{rank}.pt')
    distributed.destroy_process_group()


def test_ranks_hold_identical_masks_and_weights(tmp_path, data):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(run_rank, (tmp_path, data, port), nprocs=RANKS)
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
