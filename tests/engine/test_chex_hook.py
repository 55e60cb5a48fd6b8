"""CHEXHook in a real Runner, one test per hook point."""

import json
import re
from unittest.mock import patch

import pytest
import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS

from chex_mm.errors import ChexError

from .toy_runs import build, chex, hook_of, loader

# sigmoid(0) is not 0: what reads an inactive channel gets a gradient.
LEAKY = dict(
    type='ToyNet', backbone=dict(type='ToyBackbone', activation='sigmoid')
)
NO_CHECKPOINT = dict(default_hooks=dict(checkpoint=None))


@HOOKS.register_module()
class Watch(Hook):
    """Collects facts about each iteration, after all other hooks."""

    priority = 'LOWEST'

    def __init__(self):
        self.steps, self.leaks = [], []

    def after_train_iter(self, runner, **_):
        hook = hook_of(runner)
        self.steps.append(hook.explorer.steps_done)
        for model in (runner.model, *hook.session.live.copies):
            self.leaks += leaks(model, hook.explorer)


@HOOKS.register_module()
class WatchMomentum(Hook):
    """Whether active and inactive channels have momentum after a step."""

    priority = 'LOWEST'

    def __init__(self):
        self.found = []

    def after_train_iter(self, runner, **_):
        if runner.iter + 1 in hook_of(runner).explorer.schedule:
            state = runner.optim_wrapper.optimizer.state
            weight = runner.model.backbone.inner[0].weight
            momentum = state[weight]['momentum_buffer']
            active = hook_of(runner).explorer.keep['backbone.inner.0']
            self.found.append(
                (bool(momentum[active].any()), bool(momentum[~active].any()))
            )


def leaks(model, explorer):
    """Tensors of `model` that are not zero where channels are inactive."""
    state = model.state_dict()
    return [
        piece.tensor
        for name, group in explorer.groups.items()
        for piece in group.slices
        if state[piece.tensor]
        .index_select(piece.dim, piece.positions(~explorer.keep[name]))
        .any()
    ]


def train(work_dir, **changes):
    changes = {**NO_CHECKPOINT, **changes}
    changes['hooks'] = [*changes.get('hooks', ()), dict(type='Watch')]
    if 'custom_hooks' in changes:
        changes['custom_hooks'].append(dict(type='Watch'))
    runner = build(work_dir, **changes)
    runner.train()
    watch = next(h for h in runner.hooks if isinstance(h, Watch))
    return runner, hook_of(runner), watch


def log_of(work_dir):
    return '\n'.join(p.read_text() for p in work_dir.rglob('*.log'))


def test_steps_run_when_due_and_meet_the_budget(tmp_path):
    _, hook, watch = train(tmp_path)
    done = [0] * 3 + [1] * 4 + [2] * 5 + [3] * 4 + [4] * 8
    assert watch.steps == done
    assert hook.explorer.is_finished
    assert 0.4 < hook.explorer.share() <= 0.5


def test_inactive_channels_are_zero_after_every_iteration(tmp_path):
    _, hook, watch = train(tmp_path, model=LEAKY)
    assert not hook.explorer.keep['backbone.inner.0'].all()
    assert watch.leaks == []


def test_momentum_of_what_left_is_zero(tmp_path):
    runner, hook, _ = train(tmp_path, hooks=[dict(type='WatchMomentum')])
    watch = next(h for h in runner.hooks if isinstance(h, WatchMomentum))
    assert watch.found == [(True, False)] * 4
    assert not hook.explorer.keep['backbone.inner.0'].all()


def test_the_averaged_copy_is_the_same_sub_model(tmp_path):
    runner, hook, watch = train(
        tmp_path, model=LEAKY, hooks=[dict(type='EMAHook', momentum=0.2)]
    )
    ema = next(h for h in runner.hooks if isinstance(h, EMAHook))
    assert hook.session.live.copies == (ema.ema_model.module,)
    assert watch.leaks == []
    assert not torch.equal(
        ema.ema_model.module.neck[0].weight, runner.model.neck[0].weight
    )


def test_an_average_that_would_run_later_is_an_error(tmp_path):
    with pytest.raises(ValueError, match='EMAHook runs after') as error:
        train(tmp_path, hooks=[dict(type='EMAHook', priority='LOW')])
    assert "dict(type='EMAHook', ..., priority=49)" in str(error.value)


def test_structure_changes_only_after_whole_accumulations(tmp_path):
    _, hook, watch = train(
        tmp_path,
        optim_wrapper=dict(
            type='OptimWrapper',
            accumulative_counts=3,
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
        ),
    )
    changes = [
        i + 1
        for i, (a, b) in enumerate(zip([0, *watch.steps], watch.steps))
        if a != b
    ]
    assert hook.explorer.schedule == (4, 8, 13, 17)
    assert changes == [6, 9, 15, 18]
    assert watch.leaks == []


def test_mixed_precision(tmp_path):
    amp = dict(
        type='AmpOptimWrapper',
        dtype='bfloat16',
        optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
    )
    module = 'mmengine.optim.optimizer.amp_optimizer_wrapper'
    with (
        patch(f'{module}.is_cuda_available', return_value=True),
        patch(f'{module}.GradScaler', lambda: torch.amp.GradScaler('cpu')),
    ):
        runner, hook, watch = train(tmp_path, optim_wrapper=amp)
    assert isinstance(runner.optim_wrapper, AmpOptimWrapper)
    assert hook.explorer.is_finished
    assert watch.leaks == []


def test_several_optimizers_are_refused(tmp_path):
    runner = build(tmp_path, **NO_CHECKPOINT)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper = OptimWrapperDict(first=runner.optim_wrapper)
    with pytest.raises(ValueError, match='OptimWrapperDict') as error:
        hook_of(runner).before_train(runner)
    assert "dict(type='OptimWrapper'" in str(error.value)


def test_log_and_scalars(tmp_path):
    train(
        tmp_path,
        visualizer=dict(
            type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]
        ),
    )
    log = log_of(tmp_path)
    assert (
        'CHEX explores 48 channels in 3 of 5 channel groups, in 4 steps from '
        'iteration 4 to 17.' in log
    )
    assert 'reachable: ' in log
    assert 'pinned: 3 channels, it leaves the model' in log
    step = r'CHEX step 4/4: FLOPs 0\.(4\d|50), \+\d+ -\d+ channels, \d+\.\d s'
    assert re.search(step, log)
    assert 'CHEX: structure fixed after 4 of 4 steps' in log
    (path,) = tmp_path.rglob('scalars.json')
    lines = map(json.loads, path.read_text().splitlines())
    steps = [line for line in lines if 'chex/flops_share' in line]
    assert [line['step'] for line in steps] == [4, 8, 13, 17]
    assert set(steps[-1]) == {
        'step',
        'chex/flops_share',
        'chex/regrow_factor',
        'chex/added',
        'chex/removed',
        'chex/seconds',
        'chex/active/backbone.stem.0',
        'chex/active/backbone.inner.0',
        'chex/active/neck.0',
    }
    assert steps[-1]['chex/regrow_factor'] == pytest.approx(0)


def test_scope_exclude_and_regrow_reach_the_explorer(tmp_path):
    settings = dict(
        scope=['backbone'],
        exclude=['backbone.stem'],
        regrow=dict(initial=0.1),
        budget=dict(type='params', keep=0.9),
        norm_init=None,
        seed=7,
    )
    _, hook, _ = train(tmp_path, custom_hooks=[chex(**settings)])
    assert list(hook.explorer.keep) == ['backbone.inner.0']
    assert hook.explorer.settings.regrow == 0.1
    assert hook.explorer.settings.seed == 7


def test_the_seed_is_the_runners_unless_given(tmp_path):
    _, hook, _ = train(tmp_path)
    assert hook.explorer.settings.seed == 3


def test_norms_from_scratch_start_at_norm_init(tmp_path):
    still = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0))
    runner, hook, _ = train(tmp_path, optim_wrapper=still)
    scale = runner.model.backbone.inner[1].weight
    active = hook.explorer.keep['backbone.inner.0']
    assert not active.all()
    assert (scale[active] == 0.5).all()
    assert not scale[~active].any()


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        (dict(scope=['bakbone']), "'bakbone' matches no module"),
        (dict(floor=0.9), 'is out of reach'),
        (dict(budget=dict(type='watts', keep=0.5)), "'watts'"),
        (dict(regrow=dict(first=0.3)), "it takes 'initial' and 'policy'"),
        (dict(execution='quick'), "'quick'; write one of 'masked', 'compact'"),
        (dict(scope='neck'), "write scope=['neck']"),
    ],
)
def test_wrong_settings(tmp_path, settings, text):
    with pytest.raises((ValueError, ChexError), match=re.escape(text)):
        train(tmp_path, custom_hooks=[chex(**settings)])


def test_a_run_ends_with_its_report(tmp_path):
    train(tmp_path, custom_hooks=[chex(report=True)])
    assert 'active' in (tmp_path / 'report/report.html').read_text()
    train(tmp_path / 'other', custom_hooks=[chex(report=False)])
    assert not (tmp_path / 'other' / 'report').exists()


def test_an_unknown_setting_is_named(tmp_path):
    with pytest.raises(ValueError, match="no argument 'stepz'.*steps="):
        train(tmp_path, custom_hooks=[chex(stepz=3)])


def test_frozen_norms_stop_the_run_before_it_starts(tmp_path):
    model = dict(
        type='ToyNet', backbone=dict(type='ToyBackbone', norm_eval=True)
    )
    with pytest.raises(ValueError, match='do not train') as error:
        train(tmp_path, model=model)
    assert 'model = dict(backbone=dict(norm_eval=False))' in str(error.value)


def test_recipe_warnings_are_logged(tmp_path):
    model = dict(
        type='ToyNet',
        backbone=dict(type='ToyBackbone', zero_init_residual=True),
    )
    optimizer = dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.01, weight_decay=1e-4),
    )
    train(tmp_path, model=model, optim_wrapper=optimizer)
    log = log_of(tmp_path)
    assert 'model = dict(backbone=dict(zero_init_residual=False))' in log
    assert 'paramwise_cfg=dict(norm_decay_mult=0)' in log
    assert 'CHEX starts 4 explored norm layers at 0.5' in log


def test_testing_a_checkpoint_does_not_start_exploring(tmp_path):
    build(tmp_path).train()
    test = dict(
        test_dataloader=loader('DefaultSampler', shuffle=False),
        test_cfg=dict(),
        test_evaluator=[dict(type='ToyAccuracy')],
        load_from=str(tmp_path / 'iter_20.pth'),
    )
    with_hook = build(tmp_path / 'with', **test)
    without = build(tmp_path / 'without', **test, custom_hooks=[])
    assert with_hook.test() == without.test()
    assert hook_of(with_hook).explorer is None
