"""Two processes hold the same sub-model from the first to the last step."""

import copy
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from chex_mm import Budget, ChannelExplorer, trace_channels
from chex_mm.engine.hooks.replicas import (
    check_replicas,
    shared_graph,
    shared_plan,
)
from chex_mm.engine.latest_checkpoint import latest_checkpoint
from chex_mm.errors import ChexError

from ..packages.sync_norm_kernels import sync_norms_on_cpu
from .toy_runs import (
    become_rank,
    build,
    chex,
    differences,
    flatten,
    hook_of,
    loader,
)

ROOT = Path(__file__).parents[2]
RANKS = 2
EXECUTIONS = ['masked', 'compact']


@HOOKS.register_module()
class Record(Hook):
    """Copies masks and dense weights after every iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.states = []

    def after_train_iter(self, runner, **_):
        hook, model = hook_of(runner), runner.model
        if isinstance(model, DistributedDataParallel):
            model = model.module
        states = {}
        for place, module in {
            '': model,
            'average/': hook.session.live.copies[0],
        }.items():
            state = dict(module.state_dict())
            hook.explorer.sub_model.widen_state(state)
            states |= {place + k: v.detach().clone() for k, v in state.items()}
        self.states.append({**states, **hook.explorer.keep})


@HOOKS.register_module()
class Dawdle(Hook):
    """Makes the second rank late for everything."""

    priority = 'VERY_HIGH'

    def after_train_iter(self, runner, **_):
        time.sleep(0.05 * runner.rank)


def train(work_dir, execution, wrapper=None, **changes):
    runner = build(
        work_dir,
        custom_hooks=[
            chex(execution=execution),
            dict(type='EMAHook'),
            dict(type='Record'),
            dict(type='Dawdle'),
        ],
        cfg=dict(model_wrapper_cfg=wrapper) if wrapper else dict(),
        **changes,
    )
    runner.train()
    return next(h for h in runner.hooks if isinstance(h, Record)).states


def batches(size, norm):
    """A run on batches that may be shared out among processes."""
    data = loader('InfiniteSampler')
    data['dataset']['noise'] = 0.0
    return dict(
        model=dict(type='ToyNet', dropout=0.0, norm=norm),
        train_dataloader=dict(data, batch_size=size),
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None,
    )


WRAPPERS = {
    'plain': dict(),
    'unused': dict(find_unused_parameters=True),
    'static': dict(static_graph=True),
    'views': dict(gradient_as_bucket_view=True),
}
# Execution, options of the wrapper, kind of norm.
SHARED_OUT = {
    **{name: ('compact', o, 'sample') for name, o in WRAPPERS.items()},
    **{f'sync {e}': (e, dict(), 'synchronised') for e in EXECUTIONS},
}


def run_rank(rank, work_dir, port):
    """What one process does."""
    become_rank(rank, RANKS, port)
    distributed.init_process_group('gloo')
    common = dict(device_ids=None, broadcast_buffers=False)
    several = dict(launcher='pytorch', wrapper=common)
    states = {}
    for execution in EXECUTIONS:
        states[execution] = train(work_dir / execution, execution, **several)
        states[f'{execution} resumed'] = train(
            work_dir / f'{execution}_resumed',
            execution,
            load_from=str(work_dir / execution / 'iter_9.pth'),
            resume=True,
            **several,
        )
    with sync_norms_on_cpu():
        for name, (execution, options, norm) in SHARED_OUT.items():
            several['wrapper'] = {**common, **options}
            states[name] = train(
                work_dir / name, execution, **batches(4, norm), **several
            )
    torch.save(states, work_dir / f'rank_{rank}.pt')
    distributed.destroy_process_group()


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    """What happened on each of two ranks, by the name of the run."""
    work_dir = tmp_path_factory.mktemp('ranks')
    multiprocessing.spawn(run_rank, (work_dir, free_port()), nprocs=RANKS)
    return [torch.load(work_dir / f'rank_{r}.pt') for r in range(RANKS)]


@pytest.mark.slow
@pytest.mark.parametrize('execution', EXECUTIONS)
def test_ranks_hold_identical_masks_and_weights(ranks, execution):
    for name, length in ((execution, 24), (f'{execution} resumed', 15)):
        one, other = (states[name] for states in ranks)
        assert len(one) == len(other) == length
        for iteration, (a, b) in enumerate(zip(one, other)):
            for tensor in a:
                if 'running' in tensor or 'num_batches' in tensor:
                    continue  # every rank has its own statistics
                assert torch.equal(a[tensor], b[tensor]), (iteration, tensor)
    states = ranks[0][execution]
    changes = sum(
        not torch.equal(a['backbone.inner.0'], b['backbone.inner.0'])
        for a, b in zip(states, states[1:])
    )
    assert changes > 1


def gap(one, other):
    one, other = one.double(), other.double()
    return float((one - other).abs().max() / one.abs().max().clamp(min=1e-3))


@pytest.mark.slow
@pytest.mark.parametrize('name', SHARED_OUT)
def test_two_ranks_are_one_with_the_batches_of_both(ranks, name, tmp_path):
    execution, _, norm = SHARED_OUT[name]
    alone = train(tmp_path, execution, **batches(8, norm))
    together = ranks[0][name]
    assert len(alone) == len(together) == 24
    for iteration, (a, b) in enumerate(zip(alone, together)):
        assert a.keys() == b.keys()
        worst = max(a, key=lambda tensor: gap(a[tensor], b[tensor]))
        assert gap(a[worst], b[worst]) < 1e-4, (iteration, worst)


OFFSETS = range(3, 9)  # of an accumulation of three, around a step
PARTS = ('state_dict', 'optimizer', 'chex')


def accumulate(work_dir, execution, **changes):
    """12 iterations, three for a step of the optimizer."""
    build(
        work_dir,
        launcher='pytorch',
        cfg=dict(model_wrapper_cfg=dict(device_ids=None)),
        custom_hooks=[chex(execution=execution, steps=2)],
        train_cfg=dict(by_epoch=False, max_iters=12, val_interval=4),
        optim_wrapper=dict(
            type='OptimWrapper',
            accumulative_counts=3,
            optimizer=dict(type='AdamW', lr=1e-2, weight_decay=1e-2),
            paramwise_cfg=dict(norm_decay_mult=0),
        ),
        **changes,
    ).train()


def accumulate_on_rank(rank, work_dir, port):
    """A whole run, and one resumed from each of its checkpoints."""
    become_rank(rank, RANKS, port)
    distributed.init_process_group('gloo')
    for execution in EXECUTIONS:
        whole = work_dir / execution / 'whole'
        accumulate(whole, execution)
        for offset in OFFSETS:
            accumulate(
                work_dir / execution / str(offset),
                execution,
                load_from=str(whole / f'iter_{offset}.pth'),
                resume=True,
                default_hooks=dict(
                    checkpoint=dict(
                        type='CheckpointHook', interval=12, by_epoch=False
                    )
                ),
            )
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def accumulated(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('accumulated')
    multiprocessing.spawn(
        accumulate_on_rank, (work_dir, free_port()), nprocs=RANKS
    )
    return work_dir


@pytest.mark.slow
@pytest.mark.parametrize('offset', OFFSETS)
@pytest.mark.parametrize('execution', EXECUTIONS)
def test_two_ranks_resume_inside_an_accumulation(
    accumulated, execution, offset
):
    whole = accumulated / execution / 'whole'
    gradients = torch.load(whole / f'iter_{offset}.pth')['chex']['gradients']
    if offset % 3:
        one, other = (each['head.weight'] for each in gradients)
        assert not torch.equal(one, other)
    else:
        assert gradients == [{}]
    one, other = (
        torch.load(folder / 'iter_12.pth')
        for folder in (whole, accumulated / execution / str(offset))
    )
    for part in PARTS:
        found, expected = (
            dict(flatten('', state[part])) for state in (one, other)
        )
        assert differences(found, expected) == []


KILLED = """
import gc, os, signal, sys
sys.path.insert(0, {root!r})
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import distributed
from tests.engine.toy_runs import build, chex

distributed.init_process_group('gloo')

@HOOKS.register_module()
class Die(Hook):
    def after_train_iter(self, runner, **_):
        if runner.rank == 1 and runner.iter + 1 == {last}:
            os.kill(os.getpid(), signal.SIGKILL)

build(
    {work_dir!r},
    launcher='pytorch',
    custom_hooks=[chex(execution='compact'), dict(type='Die')],
    cfg=dict(model_wrapper_cfg=dict(device_ids=None)),
    load_from={load_from!r},
    resume={resume},
).train()
# Left to the interpreter, gloo's threads now and then outlive what they use.
# The runner, which holds the group through its model, is part of cycles.
gc.collect()
distributed.destroy_process_group()
"""


def launch(tmp_path, **values):
    """Both ranks from the shell, as tools/dist_train.sh starts them."""
    script = tmp_path / 'run.py'
    resume = values['load_from'] is not None
    script.write_text(KILLED.format(root=str(ROOT), resume=resume, **values))
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command += [f'--nproc_per_node={RANKS}', str(script)]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_a_killed_rank_ends_the_job_and_it_is_resumed(tmp_path):
    work_dir = str(tmp_path / 'killed')
    done = launch(tmp_path, work_dir=work_dir, last=11, load_from=None)
    assert done.returncode
    assert 'Signal 9 (SIGKILL) received' in done.stderr
    last = latest_checkpoint(work_dir)
    assert last in (f'{work_dir}/iter_10.pth', f'{work_dir}/iter_11.pth')
    done = launch(tmp_path, work_dir=work_dir, last=0, load_from=last)
    assert done.returncode == 0, done.stderr
    whole = str(tmp_path / 'whole')
    done = launch(tmp_path, work_dir=whole, last=0, load_from=None)
    assert done.returncode == 0, done.stderr
    one, other = (
        torch.load(f'{folder}/iter_24.pth', weights_only=True)
        for folder in (work_dir, whole)
    )
    for part in ('state_dict', 'optimizer', 'chex'):  # bit for bit
        found, expected = (
            dict(flatten('', state[part])) for state in (one, other)
        )
        assert differences(found, expected) == []
    assert len(one['chex']['random']) == RANKS


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


def graph_of(rank, trace, sent):
    """What `shared_graph` gives one of two ranks; `sent` is on its way."""

    def broadcast(objects):
        if rank == 0:
            sent[:] = objects
        objects[:] = sent

    module = 'chex_mm.engine.hooks.replicas'
    with (
        patch(f'{module}.get_rank', return_value=rank),
        patch(f'{module}.broadcast_object_list', broadcast),
    ):
        return shared_graph(trace)


def test_only_the_first_rank_traces():
    def never():
        raise AssertionError('another rank traces')

    sent = []
    graph = object()
    assert graph_of(0, lambda: graph, sent) is graph
    assert graph_of(1, never, sent) is graph


def test_no_rank_waits_for_one_that_cannot_trace():
    def fail():
        raise KeyError('no such layer')

    sent = []
    with pytest.raises(KeyError, match='no such layer'):
        graph_of(0, fail, sent)
    text = "Rank 0 could not trace the model. KeyError: 'no such layer'"
    with pytest.raises(ChexError, match=text):
        graph_of(1, fail, sent)


def plan_of(rank, explorer, broadcast):
    """What `shared_plan` gives one of two ranks."""
    module = 'chex_mm.engine.hooks.replicas'
    with (
        patch(f'{module}.get_world_size', return_value=2),
        patch(f'{module}.get_rank', return_value=rank),
        patch(f'{module}.broadcast', broadcast),
    ):
        return shared_plan(explorer)


def test_every_rank_does_what_the_first_has_planned():
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 8, 3))
    graph = trace_channels(model, (torch.randn(1, 3, 8, 8),))
    first, other = (
        ChannelExplorer(
            copy.deepcopy(model), graph, Budget('channels', 0.5), 4, seed=seed
        )
        for seed in range(2)
    )
    sent = []
    plan = plan_of(0, first, sent.append)
    received = plan_of(1, other, lambda tensor: tensor.copy_(sent.pop(0)))
    assert sent == []
    assert (received.step, received.regrow_factor) == (
        plan.step,
        plan.regrow_factor,
    )
    for part in ('retained', 'keep'):
        for name, mask in getattr(plan, part).items():
            assert torch.equal(mask, getattr(received, part)[name])
    assert not torch.equal(other.plan().keep['0'], plan.keep['0'])


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A group of one process."""
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        monkeypatch.setenv(name, '1')
    monkeypatch.setenv('LOCAL_RANK', '0')
    store = f'file://{tmp_path}/store'
    distributed.init_process_group('gloo', store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@HOOKS.register_module()
class Wrappers(Hook):
    """Keeps the wrapper of every iteration, and the width in it."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, **_):
        width = runner.model.module.backbone.inner[0].out_channels
        self.seen.append((runner.model, width))


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_another_width_gets_another_wrapper(tmp_path, alone, execution):
    runner = build(
        tmp_path,
        custom_hooks=[chex(execution=execution), dict(type='Wrappers')],
        default_hooks=dict(checkpoint=None),
        launcher='pytorch',
        cfg=dict(model_wrapper_cfg=dict(device_ids=None)),
    )
    bare = runner.model.module
    runner.train()
    seen = next(h.seen for h in runner.hooks if isinstance(h, Wrappers))
    assert all(
        isinstance(wrapper, DistributedDataParallel) and wrapper.module is bare
        for wrapper, _ in seen
    )
    changes = [
        one is not other
        for (one, width), (other, after) in zip(seen, seen[1:])
        if width != after
    ]
    assert bool(changes) == (execution == 'compact') and all(changes)
    if execution == 'masked':
        assert len({id(wrapper) for wrapper, _ in seen}) == 1


def test_weights_that_drift_apart_stop_the_run(tmp_path):
    runner = build(tmp_path, default_hooks=dict(checkpoint=None))
    runner.train()
    explorer, first = hook_of(runner).explorer, []

    def gather(own):
        """What ranks 0 and 1 have, of which the second never changes."""
        first.append(own)
        return [own, first[0]]

    module = 'chex_mm.engine.hooks.replicas'
    with (
        patch(f'{module}.get_world_size', return_value=2),
        patch(f'{module}.all_gather', side_effect=gather),
    ):
        check_replicas(explorer)
        weight = explorer.model.head.weight.data
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
        with pytest.raises(ChexError, match='ranks 1 have other weights than'):
            check_replicas(explorer)
