"""Which runs cannot be explored is said before anything is built."""

import re

import pytest
from mmengine.config import Config
from mmengine.runner import FlexibleRunner

from chex_mm.engine.hooks.chex_hook import CHEXHook
from chex_mm.engine.hooks.training_run import check_config

from .toy_runs import toy_config

REFUSED = {
    'runner': (dict(runner_type='FlexibleRunner'), 'under FlexibleRunner: a'),
    'class': (
        dict(runner_type=FlexibleRunner),
        'under FlexibleRunner: a strategy',
    ),
    'FSDP': (dict(strategy=dict(type='FSDPStrategy')), 'FSDPStrategy: a'),
    'DeepSpeed': (
        dict(strategy=dict(type='DeepSpeedStrategy')),
        'DeepSpeedStrategy: a strategy',
    ),
    'ColossalAI': (
        dict(strategy=dict(type='mmengine.ColossalAIStrategy')),
        'under ColossalAIStrategy: a strategy',
    ),
    'wrapper': (
        dict(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel')),
        'in a MMFullyShardedDataParallel, which splits its parameters. Write',
    ),
    'optimizer': (
        dict(optim_wrapper=dict(type='DeepSpeedOptimWrapper')),
        'under DeepSpeedOptimWrapper: a strategy',
    ),
}


@pytest.mark.parametrize('change, text', REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize('hook', ['CHEXHook', CHEXHook])
def test_a_config_that_splits_the_model_is_refused(change, text, hook):
    config = Config(dict(custom_hooks=[dict(type=hook)]))
    config.update(change)
    with pytest.raises(ValueError, match=re.escape(text)):
        check_config(config)


@pytest.mark.parametrize('change', [c for c, _ in REFUSED.values()])
def test_without_the_hook_everything_may_run(change):
    assert check_config(Config(dict(custom_hooks=None, **change))) is None


def test_an_ordinary_config_may_run(tmp_path):
    assert check_config(Config(toy_config(tmp_path))) is None


def test_a_flexible_runner_is_refused_by_the_hook(tmp_path):
    config = toy_config(tmp_path)
    runner = FlexibleRunner(**config)
    with pytest.raises(ValueError, match='under FlexibleRunner: a strategy'):
        runner.train()
