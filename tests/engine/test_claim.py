"""A run checks its own masks, says what that took, and stops if they fail."""

from unittest.mock import patch

import pytest
import torch
from torch import nn

from chex_mm.engine.hooks.claim import Claim
from chex_mm.engine.session import Session
from chex_mm.errors import ChexError

from .toy_runs import MODELS, WIDTH, ToyBackbone, build, chex, hook_of


@MODELS.register_module()
class OddBackbone(ToyBackbone):
    """Goes another way at one width, which a run only comes upon later."""

    odd = None

    def forward(self, x):
        x = super().forward(x)
        return x.sigmoid() if self.inner[0].out_channels == self.odd else x


def log_of(folder):
    return '\n'.join(p.read_text() for p in folder.rglob('*.log'))


@pytest.mark.parametrize('execution', ['masked', 'compact'])
def test_every_step_is_checked(tmp_path, execution):
    build(tmp_path, custom_hooks=[chex(execution=execution)]).train()
    said = log_of(tmp_path)
    assert said.count('the masked and the narrow model agree') == 1 + 4


def test_it_can_be_turned_off(tmp_path):
    build(tmp_path, custom_hooks=[chex(verify=False)]).train()
    assert 'narrow model agree' not in log_of(tmp_path)


@pytest.mark.parametrize('execution', ['masked', 'compact'])
def test_a_wrong_cut_stops_the_run_at_its_first_step(
    tmp_path, execution, monkeypatch
):
    runner = build(
        tmp_path,
        custom_hooks=[
            chex(
                execution=execution,
                budget=dict(type='flops', keep=0.25),
                regrow=dict(initial=0.0),
            )
        ],
        model=dict(type='ToyNet', backbone=dict(type='OddBackbone')),
    )
    hook = hook_of(runner)
    check = Session._check_claim

    def after_the_first_step(session):
        if hook.explorer.steps_done == 1:
            width = int(hook.explorer.keep['backbone.inner.0'].sum())
            assert width < WIDTH
            monkeypatch.setattr(OddBackbone, 'odd', width)
        check(session)

    monkeypatch.setattr(Session, '_check_claim', after_the_first_step)
    with pytest.raises(ChexError) as error:
        runner.train()
    assert str(error.value).startswith(
        'After step 1 of the exploration: The masked and the narrow model '
        'differ: a size is compared in Python: after a cut other operators '
        'run.'
    )
    assert runner.iter < 6


def test_no_rank_waits_for_one_that_cannot_check():
    def broadcast(found):
        found[:] = [None, 'KeyError: scale']

    module = 'chex_mm.engine.hooks.replicas'
    with (
        patch(f'{module}.get_rank', return_value=1),
        patch(f'{module}.broadcast_object_list', broadcast),
        pytest.raises(ChexError, match='not run the model. KeyError: scale'),
    ):
        Claim(None)


def test_a_check_leaves_no_trace_in_the_run(tmp_path):
    """Weights, buffers and random states, bit for bit."""
    states = []
    for verify in (False, True):
        runner = build(tmp_path, custom_hooks=[chex(verify=verify)])
        runner.train()
        states.append((runner.model.state_dict(), torch.get_rng_state()))
    (plain, plain_random), (checked, checked_random) = states
    assert all(torch.equal(plain[name], checked[name]) for name in plain)
    assert torch.equal(plain_random, checked_random)


def test_synchronised_norms_need_no_other_process(tmp_path):
    runner = build(tmp_path, model=dict(type='ToyNet', norm='batch'))
    runner.model.neck[1] = nn.SyncBatchNorm(WIDTH)
    runner.call_hook('before_run')
    hook = hook_of(runner)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    hook.before_train(runner)
    assert 'narrow model agree' in log_of(tmp_path)
