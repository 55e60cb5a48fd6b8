"""Two processes hold the same sub-model from the first to the last step."""

import os
import socket
from unittest.mock import patch

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import distributed, multiprocessing

from chex_mm.engine.hooks.replicas import check_replicas
from chex_mm.errors import ChexError

from .toy_runs import build, chex, hook_of

RANKS = 2


@HOOKS.register_module()
class Record(Hook):
    """Copies masks and weights after every iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.states = []

    def after_train_iter(self, runner, **_):
        states = {
            name: parameter.detach().clone()
            for name, parameter in runner.model.named_parameters()
        }
        for copy in hook_of(runner)._copies:
            for name, parameter in copy.named_parameters():
                states[f'average of {name}'] = parameter.detach().clone()
        masks = hook_of(runner).explorer.keep
        self.states.append({**states, **masks})


def train(work_dir, **changes):
    runner = build(
        work_dir,
        launcher='pytorch',
        cfg=dict(
            model_wrapper_cfg=dict(device_ids=None, broadcast_buffers=False)
        ),
        custom_hooks=[chex(), dict(type='EMAHook'), dict(type='Record')],
        **changes,
    )
    runner.train()
    return next(h for h in runner.hooks if isinstance(h, Record)).states


def run_rank(rank, work_dir, port):
    """What one process does."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(RANKS),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    distributed.init_process_group('gloo')
    whole = train(work_dir)
    resumed = train(
        work_dir / 'resumed',
        load_from=str(work_dir / 'iter_9.pth'),
        resume=True,
    )
    torch.save((whole, resumed), work_dir / f'rank_{rank}.pt')
    distributed.destroy_process_group()


@pytest.mark.slow
def test_ranks_hold_identical_masks_and_weights(tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(run_rank, (tmp_path, port), nprocs=RANKS)
    first, second = (
        torch.load(tmp_path / f'rank_{rank}.pt') for rank in range(RANKS)
    )
    for one, other, length in zip(first, second, (24, 15)):
        assert len(one) == len(other) == length
        for iteration, (a, b) in enumerate(zip(one, other)):
            for name in a:
                assert torch.equal(a[name], b[name]), (iteration, name)
    changes = sum(
        not torch.equal(a['backbone.inner.0'], b['backbone.inner.0'])
        for a, b in zip(first[0], first[0][1:])
    )
    assert changes > 1


def test_a_rank_that_drifts_apart_stops_the_run(tmp_path):
    runner = build(tmp_path, default_hooks=dict(checkpoint=None))
    runner.train()
    module = 'chex_mm.engine.hooks.replicas'
    digests = [torch.tensor([7]), torch.tensor([7]), torch.tensor([8])]
    with (
        patch(f'{module}.get_world_size', return_value=3),
        patch(f'{module}.all_gather', return_value=digests),
        pytest.raises(ChexError, match='After step 4 the ranks 2 have'),
    ):
        check_replicas(hook_of(runner).explorer)
