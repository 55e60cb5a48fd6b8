"""Activations that are computed again change nothing."""

import pytest

from .toy_runs import build, chex, differences, everything, hook_of

# Statistics of a batch would count every batch twice, as without CHEX.
MODEL = dict(type='ToyNet', norm='sample')
MODULES = ['backbone.inner', 'neck']


@pytest.mark.parametrize('execution', ['masked', 'compact'])
@pytest.mark.filterwarnings('ignore:torch.utils.checkpoint')
@pytest.mark.filterwarnings('ignore:None of the inputs have requires_grad')
def test_a_run_with_it_is_the_run_without(tmp_path, execution):
    ends = {}
    for modules in (None, MODULES):
        runner = build(
            tmp_path / str(modules),
            model=MODEL,
            custom_hooks=[chex(execution=execution)],
            cfg=dict(activation_checkpointing=modules),
        )
        runner.train()
        explorer = hook_of(runner).explorer
        assert explorer.is_finished and explorer.share() <= 0.5
        assert {'backbone.inner.0', 'neck.0'} <= set(explorer.groups)
        ends[bool(modules)] = everything(runner)
    assert 'forward' in vars(runner.model.neck)
    assert differences(ends[False], ends[True]) == []
