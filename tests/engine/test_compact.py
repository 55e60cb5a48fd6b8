"""A run that trains its sub-model narrow is the run that trains zeros."""

import copy
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS
from mmengine.registry import OPTIMIZERS as OPTIMIZER_TYPES

from chex_mm.deploy.slimming import slim_checkpoint
from chex_mm.errors import ChexError

from .toy_runs import (
    ToyNet,
    build,
    chex,
    differences,
    everything,
    flatten,
    hook_of,
)

ROUNDING = 1e-5  # of the largest entry of a tensor
OPTIMIZERS = {
    'sgd': dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-3),
    'adamw': dict(type='AdamW', lr=5e-3, weight_decay=1e-2),
}
# Dropout draws as many numbers as there are channels, so it is off here.
MODEL = dict(type='ToyNet', dropout=0.0)
ITERATIONS = 52  # the hook's four steps end after 37 of them


@HOOKS.register_module()
class RecordDense(Hook):
    """Loss, masks and dense weights of live and averaged model, each time."""

    priority = 'LOWEST'

    def __init__(self):
        self.losses, self.states, self.masks = [], [], []

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ):
        hook = hook_of(runner)
        state = dict(runner.model.state_dict())
        hook.explorer.sub_model.widen_state(state)
        for number, average in enumerate(hook.session.live.copies):
            averaged = dict(average.state_dict())
            hook.explorer.sub_model.widen_state(averaged)
            state |= {f'{number}/{k}': v for k, v in averaged.items()}
        self.states.append({k: v.detach().clone() for k, v in state.items()})
        self.losses.append(float(outputs['loss'].detach()))
        self.masks.append(copy.deepcopy(hook.explorer.keep))


@MODELS.register_module()
class ToyHalfNet(ToyNet):
    """Computes in bfloat16 (mmengine's own wrapper does so on GPUs only)."""

    def forward(self, *arguments, **options):
        with torch.autocast('cpu', torch.bfloat16):
            return super().forward(*arguments, **options)


def wrapper(optimizer, **changes):
    return dict(
        dict(
            type='OptimWrapper',
            optimizer=OPTIMIZERS[optimizer],
            paramwise_cfg=dict(norm_decay_mult=0),
        ),
        **changes,
    )


def train(work_dir, execution, hooks=(), settings=None, **changes):
    changes = {
        'model': MODEL,
        'train_cfg': dict(
            by_epoch=False, max_iters=ITERATIONS, val_interval=20
        ),
        **changes,
    }
    hook = chex(execution=execution, **(settings or {}))
    runner = build(
        work_dir / execution,
        custom_hooks=[*hooks, hook, dict(type='RecordDense')],
        **changes,
    )
    runner.train()
    record = next(h for h in runner.hooks if isinstance(h, RecordDense))
    return runner, record


def gap(one, other):
    """Largest difference, beside the largest entry."""
    if not one.is_floating_point():
        return float((one != other).any())
    scale = max(float(one.abs().max()), 1e-3)
    return float((one - other).abs().max()) / scale


def check_agree(one, other, rounding=ROUNDING):
    """Same masks, losses and weights, one after the other."""
    assert len(one.losses) == len(other.losses) >= 50
    changes = 0
    for number, (a, b) in enumerate(zip(one.masks, other.masks)):
        assert all(torch.equal(a[name], b[name]) for name in a), number
        if number:
            before = one.masks[number - 1]
            changes += any(not torch.equal(a[n], before[n]) for n in a)
    assert changes >= 3
    assert one.losses == pytest.approx(other.losses, rel=rounding, abs=1e-6)
    for number, (a, b) in enumerate(zip(one.states, other.states)):
        assert a.keys() == b.keys()
        worst = max(a, key=lambda name: gap(a[name], b[name]))
        assert gap(a[worst], b[worst]) < rounding, (number, worst)


AVERAGE = dict(type='EMAHook', momentum=0.1)


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize(
    'hooks',
    [(), (AVERAGE,), (dict(AVERAGE, update_buffers=True),)],
    ids=['plain', 'average', 'average of buffers'],
)
def test_masked_and_compact_agree_step_for_step(tmp_path, optimizer, hooks):
    (_, masked), (runner, compact) = (
        train(tmp_path, how, hooks, optim_wrapper=wrapper(optimizer))
        for how in ('masked', 'compact')
    )
    check_agree(masked, compact)
    keep = hook_of(runner).explorer.keep
    width = int(keep['backbone.inner.0'].sum())
    assert runner.model.backbone.inner[0].out_channels == width < 16


@pytest.mark.parametrize(
    'changes',
    [dict(clip_grad=dict(max_norm=0.5)), dict(accumulative_counts=3)],
    ids=['clipping', 'accumulation'],
)
def test_they_agree_with_other_wrappers(tmp_path, changes):
    (_, masked), (_, compact) = (
        train(tmp_path, how, optim_wrapper=wrapper('sgd', **changes))
        for how in ('masked', 'compact')
    )
    check_agree(masked, compact)


def gaps(one, other):
    """Largest difference up to every iteration: of losses, of weights."""
    losses = torch.tensor(one.losses) - torch.tensor(other.losses)
    weights = [
        max(gap(a[name], b[name]) for name in a)
        for a, b in zip(one.states, other.states)
    ]
    return [
        each.abs().cummax(0).values for each in (losses, torch.tensor(weights))
    ]


def test_they_agree_in_bfloat16_within_its_tolerance(tmp_path):
    """They are nearer to each other than rounding to 8 bits brings either.

    What the rounding does differs between processors and grows with every
    iteration, so it is measured here, against the same run in float32.
    """
    half = dict(MODEL, type='ToyHalfNet')
    (_, exact), (_, masked), (_, compact) = (
        train(tmp_path / model['type'], how, model=model)
        for how, model in (
            ('masked', MODEL),
            ('masked', half),
            ('compact', half),
        )
    )
    assert exact.masks[-1].keys() == masked.masks[-1].keys()
    for a, b, c in zip(exact.masks, masked.masks, compact.masks):
        assert all(torch.equal(a[name], b[name]) for name in a)
        assert all(torch.equal(b[name], c[name]) for name in a)
    for apart, rounding in zip(gaps(masked, compact), gaps(masked, exact)):
        assert rounding[0] > 0 and (apart <= rounding).all()


def test_they_agree_where_activations_move_zero(tmp_path):
    model = dict(
        MODEL, backbone=dict(type='ToyBackbone', activation='sigmoid')
    )
    (_, masked), (_, compact) = (
        train(tmp_path, how, model=model, optim_wrapper=wrapper('adamw'))
        for how in ('masked', 'compact')
    )
    check_agree(masked, compact)


def test_a_checkpoint_does_not_tell_which_mode_wrote_it(tmp_path):
    one, other = (
        torch.load(
            train(tmp_path, how, (AVERAGE,), optim_wrapper=wrapper('adamw'))[
                0
            ].work_dir
            + '/iter_20.pth',
            weights_only=True,
        )
        for how in ('masked', 'compact')
    )
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'chex'):
        a, b = (dict(flatten('', state[part])) for state in (one, other))
        assert a.keys() == b.keys()
        for path, value in a.items():
            if torch.is_tensor(value):
                assert value.shape == b[path].shape, (part, path)
                assert value.dtype == b[path].dtype
    keep = other['chex']['explorer']['keep']['backbone.inner.0']
    assert not keep.all()
    for part, prefix in (('state_dict', ''), ('ema_state_dict', 'module.')):
        weight = other[part][f'{prefix}backbone.inner.0.weight']
        assert not weight[~keep].any() and weight[keep].any()


@pytest.mark.parametrize('last', [3, 14, 20, 45])
@pytest.mark.parametrize('other', ['masked', 'compact'])
def test_a_compact_run_is_resumed(tmp_path, last, other):
    """Bit for bit by itself; the other mode goes on within rounding."""
    changes = dict(optim_wrapper=wrapper('adamw'), hooks=(AVERAGE,))
    whole, record = train(tmp_path, 'compact', **changes)
    resumed, again = train(
        tmp_path / 'resumed',
        other,
        load_from=f'{whole.work_dir}/iter_{last}.pth',
        resume=True,
        **changes,
    )
    assert len(again.losses) == ITERATIONS - last
    expected = record.losses[last:]
    if other == 'compact':
        assert again.losses == expected
        assert differences(everything(resumed), everything(whole)) == []
    else:
        assert again.losses == pytest.approx(expected, rel=ROUNDING)


def test_a_masked_run_goes_on_compact(tmp_path):
    changes = dict(optim_wrapper=wrapper('adamw'), hooks=(AVERAGE,))
    whole, record = train(tmp_path, 'masked', **changes)
    _, again = train(
        tmp_path / 'resumed',
        'compact',
        load_from=f'{whole.work_dir}/iter_20.pth',
        resume=True,
        **changes,
    )
    assert again.losses == pytest.approx(record.losses[20:], rel=ROUNDING)


def test_pending_gradients_of_a_compact_run_are_resumed(tmp_path):
    changes = dict(optim_wrapper=wrapper('adamw', accumulative_counts=3))
    whole, _ = train(tmp_path, 'compact', **changes)
    for last in (16, 17, 18):
        resumed, _ = train(
            tmp_path / f'from {last}',
            'compact',
            load_from=f'{whole.work_dir}/iter_{last}.pth',
            resume=True,
            **changes,
        )
        assert differences(everything(resumed), everything(whole)) == []


def test_the_live_model_at_the_end_is_the_slim_model(tmp_path):
    runner, _ = train(tmp_path, 'compact')
    images = dict(
        dataset=dict(type='ToyImages', size=4),
        sampler=dict(type='DefaultSampler', shuffle=False),
        batch_size=1,
        num_workers=0,
    )
    slimmed = slim_checkpoint(
        Config(dict(model=MODEL, test_dataloader=images)),
        f'{runner.work_dir}/iter_{ITERATIONS}.pth',
    )
    live, narrow = runner.model.state_dict(), slimmed.narrow.state_dict()
    assert live.keys() == narrow.keys()
    assert all(torch.equal(live[name], narrow[name]) for name in live)
    found, expected = (
        [
            {k: v for k, v in vars(module).items() if type(v) is int}
            for module in model.modules()
        ]
        for model in (runner.model, slimmed.narrow)
    )
    assert found == expected


def test_compute_is_counted_logged_and_resumed(tmp_path):
    masked, _ = train(tmp_path, 'masked')
    assert hook_of(masked).session.compute.share == 1
    compact, record = train(tmp_path, 'compact')
    hook = hook_of(compact)
    graph = hook.explorer.graph
    shares = [
        graph.flops({n: int(m.sum()) for n, m in masks.items()})
        / graph.flops()
        for masks in record.masks
    ]
    log = next((tmp_path / 'compact').rglob('*.log')).read_text()
    # an iteration is run by the sub-model that the one before left
    first = float(re.search(r'FLOPs now (\d\.\d+)', log)[1])
    expected = (first + sum(shares[:-1])) / ITERATIONS
    compute = hook.session.compute
    assert compute.share == pytest.approx(expected, abs=0.005 / 52)
    assert re.search(r'sub_model_flops: 0\.\d+ +compute_spent: 0\.\d+', log)
    text = f'took {compute.share:.1%} of the compute of dense training'
    assert text in log
    resumed, _ = train(
        tmp_path / 'resumed',
        'compact',
        load_from=f'{compact.work_dir}/iter_30.pth',
        resume=True,
    )
    again = hook_of(resumed).session.compute
    assert again.state_dict() == compute.state_dict()


@pytest.mark.filterwarnings('ignore')  # what torch says while it compiles
def test_compiled_code_follows_every_step(tmp_path):
    compiled = dict(compile=dict(backend='eager'))
    (_, plain), (_, record) = (
        train(tmp_path / str(number), 'compact', cfg=cfg)
        for number, cfg in enumerate((dict(), compiled))
    )
    check_agree(plain, record)


@OPTIMIZER_TYPES.register_module()
class OneSum(torch.optim.SGD):
    """Keeps a vector of two beside every parameter."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for parameter in group['params']:
                sums = parameter.detach().sum().expand(2)
                self.state[parameter]['sums'] = sums


def test_an_optimizer_that_cannot_follow_is_named(tmp_path):
    optimizer = dict(
        type='OptimWrapper', optimizer=dict(type='OneSum', lr=0.01)
    )
    with pytest.raises(ChexError, match=r"OneSum keeps 'sums' of shape \(2,"):
        train(tmp_path, 'compact', optim_wrapper=optimizer)
