"""A run killed anywhere and resumed is, bit for bit, the run not killed."""

import re
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS, PARAM_SCHEDULERS

from chex_mm.deploy.slimming import slim_checkpoint
from chex_mm.engine.hooks.resume import gradients_of_rank
from chex_mm.errors import ChexError

from .toy_runs import (
    build,
    chex,
    differences,
    everything,
    flatten,
    hook_of,
    toy_config,
)


def checkpoint(work_dir, number, by_epoch):
    return str(work_dir / f'{"epoch" if by_epoch else "iter"}_{number}.pth')


def resumed(work_dir, path, **changes):
    changes = dict(dict(default_hooks=dict(checkpoint=None)), **changes)
    runner = build(
        work_dir / 'resumed', load_from=path, resume=True, **changes
    )
    runner.train()
    return runner


def check_resumes(work_dir, numbers, **changes):
    whole = build(work_dir, **changes)
    whole.train()
    expected = everything(whole)
    by_epoch = changes.get('by_epoch', False)
    for number in numbers:
        path = checkpoint(work_dir, number, by_epoch)
        state = everything(resumed(work_dir, path, **changes))
        assert differences(state, expected) == [], f'resumed from {path}'
    return whole


def test_iteration_loop_resumes_bit_for_bit(tmp_path):
    whole = check_resumes(tmp_path, [1, 4, 7, 10, 13, 17, 23])
    assert hook_of(whole).explorer.schedule == (4, 8, 13, 17)


def test_epoch_loop_resumes_bit_for_bit(tmp_path):
    check_resumes(tmp_path, [1, 2, 3], by_epoch=True)


def test_gradients_that_wait_for_an_accumulation_are_resumed(tmp_path):
    optimizer = dict(
        type='OptimWrapper',
        accumulative_counts=3,
        optimizer=dict(type='AdamW', lr=1e-2, weight_decay=1e-2),
        paramwise_cfg=dict(norm_decay_mult=0),
    )
    check_resumes(tmp_path, [4, 5, 6, 13], optim_wrapper=optimizer)


def test_with_another_number_of_processes_each_gets_the_mean_gradient():
    one, other = torch.ones(2), torch.full((2,), 3.0)
    saved = [dict(a=one, b=one), dict(a=other)]
    mean = gradients_of_rank(saved)
    assert mean['a'].tolist() == [2, 2]
    assert mean['b'].tolist() == [0.5, 0.5]
    assert gradients_of_rank([dict(a=one)]) == dict(a=one)
    assert gradients_of_rank(dict(a=one)) == dict(a=one)


@pytest.mark.parametrize('update_buffers', [False, True])
def test_averaged_copy_is_resumed(tmp_path, update_buffers):
    average = dict(type='EMAHook', momentum=0.1, update_buffers=update_buffers)
    whole = check_resumes(tmp_path, [3, 8], hooks=[average])
    ema = next(h for h in whole.hooks if isinstance(h, EMAHook))
    assert not torch.equal(
        ema.ema_model.module.head.weight, whole.model.head.weight
    )


def test_masked_backbone_is_resumed_with_its_average(tmp_path):
    check_resumes(
        tmp_path,
        [5, 13],
        model=dict(
            type='ToyNet',
            backbone=dict(
                type='MaskedBackbone', backbone=dict(type='ToyBackbone')
            ),
        ),
        custom_hooks=[
            dict(type='EMAHook', update_buffers=True),
            chex(budget=dict(type='channels', keep=0.6)),
        ],
    )


def test_best_checkpoint_has_the_random_states_of_training(tmp_path):
    saving = dict(
        type='CheckpointHook',
        interval=1,
        by_epoch=False,
        save_best='accuracy',
        rule='greater',
    )
    build(tmp_path, default_hooks=dict(checkpoint=saving)).train()
    best = next(tmp_path.glob('best_accuracy_iter_*.pth'))
    same = tmp_path / best.name.removeprefix('best_accuracy_')
    one, other = (
        dict(flatten('', torch.load(path, weights_only=True)['chex']))
        for path in (best, same)
    )
    assert differences(one, other) == []


def test_going_on_without_the_state_of_the_optimizer_is_told(tmp_path):
    build(tmp_path).train()
    path = checkpoint(tmp_path, 5, by_epoch=False)
    state = torch.load(path, weights_only=True)
    del state['optimizer']
    torch.save(state, path)
    runner = build(tmp_path / 'anew', load_from=path, resume=True)
    with patch.object(runner.logger, 'warning') as warned:
        runner.train()
    said = [call.args[0] for call in warned.call_args_list]
    assert any('has no state of the optimizer' in text for text in said)


def test_validation_does_not_change_the_run(tmp_path):
    with_validation = build(tmp_path / 'with')
    with_validation.train()
    without = build(
        tmp_path / 'without',
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None,
    )
    without.train()
    assert differences(everything(with_validation), everything(without)) == []


def test_every_checkpoint_loads_with_weights_only(tmp_path):
    build(tmp_path, hooks=[dict(type='EMAHook')]).train()
    loaded = torch.load(tmp_path / 'iter_5.pth', weights_only=True)
    assert set(loaded['chex']) == {
        'compute',
        'explorer',
        'graph',
        'schedule',
        'random',
        'gradients',
    }


def test_a_checkpoint_without_exploration_is_not_resumed(tmp_path):
    build(tmp_path, custom_hooks=[]).train()
    path = checkpoint(tmp_path, 5, by_epoch=False)
    with pytest.raises(ValueError, match=re.escape("('chex')")) as error:
        resumed(tmp_path, path)
    assert 'load_from=... and resume=False' in str(error.value)


def test_load_from_starts_anew_from_the_weights(tmp_path):
    build(tmp_path).train()
    path = checkpoint(tmp_path, 24, by_epoch=False)
    runner = build(
        tmp_path / 'anew',
        load_from=path,
        optim_wrapper=dict(
            type='OptimWrapper', optimizer=dict(type='SGD', lr=0)
        ),
    )
    runner.train()
    scale = torch.load(path, weights_only=True)['state_dict'][
        'backbone.stem.1.weight'
    ]
    explorer = hook_of(runner).explorer
    active = explorer.keep['backbone.stem.0']
    assert explorer.is_finished
    # norm_init is for training from scratch only
    assert torch.equal(
        runner.model.backbone.stem[1].weight[active], scale[active]
    )


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    build(tmp_path).train()
    path = checkpoint(tmp_path, 5, by_epoch=False)
    state = torch.load(path, weights_only=True)
    state['chex']['graph']['shapes']['head.weight'] = (7, 16)
    torch.save(state, path)
    with pytest.raises(ValueError, match='another model') as error:
        resumed(tmp_path, path)
    assert (
        'head.weight is (7, 16) in the checkpoint and (3, 16) in the model'
        in str(error.value)
    )


def test_a_resumed_run_keeps_the_costs_it_started_with(tmp_path):
    build(tmp_path).train()
    path = checkpoint(tmp_path, 5, by_epoch=False)
    state = torch.load(path, weights_only=True)
    work = state['chex']['graph']['work']
    module, op, each, *rest = work[0]
    work[0] = (module, op, 2 * each, *rest)
    torch.save(state, path)
    graph = hook_of(resumed(tmp_path, path)).explorer.graph
    assert graph.work[0].each == 2 * each


def test_a_run_of_another_length_is_refused(tmp_path):
    build(tmp_path).train()
    path = checkpoint(tmp_path, 5, by_epoch=False)
    with pytest.raises(ValueError, match='4 to 17') as error:
        resumed(tmp_path, path, train_cfg=dict(by_epoch=False, max_iters=48))
    assert '9 to 35 (4 steps)' in str(error.value)


def test_a_resumed_run_reads_the_same_samples(tmp_path):
    whole = build(tmp_path)
    whole.train()
    again = resumed(tmp_path, checkpoint(tmp_path, 9, by_epoch=False))
    reads = [
        runner.train_dataloader.dataset.reads[-4 * 24 :]
        for runner in (whole, again)
    ]
    assert len(reads[0]) == 4 * 24
    assert reads[0] == reads[1]


STEPS = dict(begin=0, by_epoch=False)
SCHEDULERS = {
    'Constant': dict(factor=0.5, end=12),
    'CosineAnnealing': dict(T_max=20, eta_min=1e-3),
    'CosineRestart': dict(
        periods=[9, 20], restart_weights=[1, 0.5], eta_min=1e-3
    ),
    'Exponential': dict(gamma=0.9),
    'Linear': dict(start_factor=0.1, end=8),
    'MultiStep': dict(milestones=[3, 12], gamma=0.1),
    'Poly': dict(power=0.9, eta_min=1e-4, end=24),
    'Step': dict(step_size=5, gamma=0.5),
}
PLATEAU = dict(monitor='accuracy', patience=0, rule='greater')


def one_cycle(strategy):
    return dict(
        type='OneCycleLR',
        eta_max=0.1,
        total_steps=24,
        anneal_strategy=strategy,
        **STEPS,
    )


EVERY_SCHEDULER = {
    **{
        f'{name}{kind}': dict(type=f'{name}{kind}', **settings, **STEPS)
        for name, settings in SCHEDULERS.items()
        for kind in ('LR', 'Momentum')
    },
    'OneCycleLR': one_cycle('cos'),
    'OneCycleLR linear': one_cycle('linear'),
}


def test_every_scheduler_of_mmengine_is_tried():
    known = {
        name
        for name in PARAM_SCHEDULERS.module_dict
        if name.endswith(('LR', 'Momentum'))
    }
    tried = {name.split()[0] for name in EVERY_SCHEDULER}
    assert known == tried | {'ReduceOnPlateauLR', 'ReduceOnPlateauMomentum'}


@pytest.mark.parametrize('name', EVERY_SCHEDULER)
def test_every_scheduler_is_resumed(tmp_path, name):
    check_resumes(tmp_path, [6, 13], param_scheduler=EVERY_SCHEDULER[name])


@pytest.mark.parametrize('kind', ['LR', 'Momentum'])
def test_a_scheduler_that_steps_at_validation_is_resumed(tmp_path, kind):
    """mmengine writes a checkpoint before it validates: not epoch 2."""
    scheduler = dict(type=f'ReduceOnPlateau{kind}', **PLATEAU)
    check_resumes(tmp_path, [1, 3], by_epoch=True, param_scheduler=scheduler)


@HOOKS.register_module()
class AddsToCheckpoints(Hook):
    """Puts what it was given into every checkpoint."""

    priority = 'LOWEST'

    def __init__(self, added):
        self.added = added

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint['added'] = dict(inner=[1, self.added])


def double(value):
    return 2 * value


@pytest.mark.parametrize('added', [double, lambda value: value, Path('a')])
def test_what_could_not_be_resumed_is_refused_before_training(tmp_path, added):
    runner = build(
        tmp_path, hooks=[dict(type='AddsToCheckpoints', added=added)]
    )
    with pytest.raises(ValueError, match='could not be resumed') as error:
        runner.train()
    assert (
        "checkpoint['added']['inner'][1] cannot be written and read again"
        in str(error.value)
    )
    assert runner.iter == 0
    assert list(tmp_path.glob('*.pth')) == []


def test_a_run_that_writes_no_checkpoint_may_hold_anything(tmp_path):
    runner = build(
        tmp_path,
        hooks=[dict(type='AddsToCheckpoints', added=double)],
        default_hooks=dict(checkpoint=None),
    )
    runner.train()
    assert runner.iter == 24


@pytest.mark.parametrize('execution', ['masked', 'compact'])
@pytest.mark.parametrize(
    'change, text',
    [
        (
            lambda state: state.pop('head.bias'),
            'head.bias is missing in the checkpoint and (3,) in the model',
        ),
        (
            lambda state: state.update(more=torch.ones(2)),
            'more is (2,) in the checkpoint and missing in the model',
        ),
        (
            lambda state: state.pop('neck.1.num_batches_tracked'),
            'neck.1.num_batches_tracked is missing in the checkpoint and ()',
        ),
        (
            lambda state: state.update({'head.weight': torch.ones(3, 8)}),
            'head.weight is (3, 8) in the checkpoint and (3, 16) in the model',
        ),
    ],
)
def test_weights_that_lack_or_add_tensors_are_refused(
    tmp_path, execution, change, text
):
    hooks = [chex(execution=execution)]
    build(tmp_path, custom_hooks=hooks).train()
    path = checkpoint(tmp_path, 5, by_epoch=False)
    state = torch.load(path, weights_only=True)
    change(state['state_dict'])
    torch.save(state, path)
    with pytest.raises(ValueError, match=re.escape(text)):
        resumed(tmp_path, path, custom_hooks=hooks)


def test_weights_saved_by_a_wrapper_are_resumed(tmp_path):
    whole = build(tmp_path)
    whole.train()
    path = checkpoint(tmp_path, 5, by_epoch=False)
    state = torch.load(path, weights_only=True)
    state['state_dict'] = {
        f'module.{name}': tensor
        for name, tensor in state['state_dict'].items()
    }
    torch.save(state, path)
    again = resumed(tmp_path, path)
    assert differences(everything(again), everything(whole)) == []


@pytest.mark.parametrize('resume', [False, True])
def test_a_list_is_not_loaded(tmp_path, resume):
    torch.save([1], tmp_path / 'list.pth')
    runner = build(
        tmp_path, load_from=str(tmp_path / 'list.pth'), resume=resume
    )
    with pytest.raises(ChexError, match='it holds a list, not a dict'):
        runner.train()


@pytest.mark.parametrize(
    'change, text',
    [
        (lambda mask: mask.float(), "keep of 'neck.0' is of type torch.float"),
        (lambda mask: mask[:-1], "keep of 'neck.0' is (15,) in the state, "),
        (lambda mask: mask.tolist(), "keep of 'neck.0' is 'a list' in the st"),
    ],
)
def test_damaged_masks_are_refused(tmp_path, change, text):
    build(tmp_path).train()
    path = checkpoint(tmp_path, 5, by_epoch=False)
    state = torch.load(path, weights_only=True)
    keep = state['chex']['explorer']['keep']
    keep['neck.0'] = change(keep['neck.0'])
    torch.save(state, path)
    with pytest.raises(ValueError, match=re.escape(text)):
        resumed(tmp_path, path)
    config = Config(toy_config(tmp_path))
    with pytest.raises(ValueError, match="keep of 'neck.0'"):
        slim_checkpoint(config, path)
