"""Runs of a network whose weights are stored as length and direction."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from chex_mm.deploy.slimming import slim_checkpoint
from chex_mm.submodel.executions import EXECUTIONS

from .toy_runs import (
    build,
    chex,
    differences,
    flatten,
    hook_of,
    loader,
    toy_config,
)

NET = dict(type='ToyNet', norm='weight')


def saved(folder):
    """What the last checkpoint of a run says."""
    state = torch.load(folder / 'iter_24.pth', weights_only=True)
    parts = ('state_dict', 'ema_state_dict', 'optimizer', 'chex')
    return dict(flatten('', {part: state[part] for part in parts}))


def settings(execution):
    hooks = [chex(execution=execution), dict(type='EMAHook', momentum=0.1)]
    return dict(model=NET, custom_hooks=hooks)


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_a_run_is_resumed_and_made_narrow(tmp_path, execution):
    whole = build(tmp_path, **settings(execution))
    whole.train()
    assert hook_of(whole).explorer.share() <= 0.5
    resumed = build(
        tmp_path / 'resumed',
        load_from=str(tmp_path / 'iter_20.pth'),
        resume=True,
        **settings(execution),
    )
    resumed.train()
    assert differences(saved(tmp_path / 'resumed'), saved(tmp_path)) == []
    slimmed = slim_checkpoint(
        Config(
            toy_config(
                tmp_path,
                test_dataloader=loader('DefaultSampler', shuffle=False),
                **settings(execution),
            )
        ),
        str(tmp_path / 'iter_24.pth'),
    )
    rebuilt = MODELS.build(
        dict(type='SlimModel', architecture=NET, channels=slimmed.channels)
    ).eval()
    rebuilt.load_state_dict(slimmed.narrow.state_dict())
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(rebuilt(images), slimmed.narrow.eval()(images))
    assert rebuilt.backbone.stem[0].out_channels < 16
