"""What version 0.1.0 wrote, before its modules were moved, goes on as it was.

`explored.json`, `run/iter_24.pth.gz` (a toy run of 24 iterations) and
`run/slim` were written by it, `run/outputs.json` holds what its narrow model
gave and the channels that were active.
"""

import gzip
import json
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner

from chex_mm.deploy.slimming import slim_checkpoint

from ..engine import toy_runs
from ..engine.toy_runs import ToyImages, build, hook_of, loader, toy_config
from .explored import EXECUTIONS, OPTIMIZERS, explored

OLD = Path(__file__).parent
RUN = OLD / 'run'


@pytest.fixture(autouse=True)
def narrow_toys(monkeypatch):
    """The toy network as narrow as it was in the old run."""
    monkeypatch.setattr(toy_runs, 'WIDTH', 4)


@pytest.fixture
def checkpoint(tmp_path):
    return unpacked(RUN / 'iter_24.pth.gz', tmp_path / 'iter_24.pth')


@pytest.fixture
def outputs():
    return json.loads((RUN / 'outputs.json').read_text())


def unpacked(source, target):
    target.write_bytes(gzip.decompress(source.read_bytes()))
    return str(target)


@pytest.mark.parametrize('execution', EXECUTIONS)
@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_the_same_channels_are_explored(execution, optimizer):
    known = json.loads((OLD / 'explored.json').read_text())
    expected = known[f'{execution} {optimizer}']
    found = explored(execution, optimizer)
    assert found['steps'] == expected['steps']
    # Bit for bit where it was written; elsewhere torch may add otherwise.
    assert found['tensors'].keys() == expected['tensors'].keys()
    for name, values in expected['tensors'].items():
        assert found['tensors'][name] == pytest.approx(values, rel=1e-3)


def test_a_checkpoint_is_slimmed_to_the_same_model(checkpoint, outputs):
    config = Config(
        toy_config(
            'old',
            test_dataloader=loader('DefaultSampler', shuffle=False),
            test_cfg=dict(),
            test_evaluator=[dict(type='ToyAccuracy')],
        )
    )
    slimmed = slim_checkpoint(config, checkpoint)
    keep = {n: mask.int().tolist() for n, mask in slimmed.keep.items()}
    assert keep == outputs['keep']
    check_outputs(slimmed.narrow, outputs)


def test_a_run_goes_on_from_it(checkpoint, tmp_path, outputs):
    runner = build(
        tmp_path / 'run',
        load_from=checkpoint,
        resume=True,
    )
    runner.train()  # 24 of 24 iterations are done
    explorer = hook_of(runner).explorer
    keep = {n: mask.int().tolist() for n, mask in explorer.keep.items()}
    assert keep == outputs['keep']
    assert explorer.is_finished


def test_a_slim_directory_builds_the_same_model(tmp_path, outputs):
    folder = tmp_path / 'slim'
    shutil.copytree(RUN / 'slim', folder)
    weights = unpacked(folder / 'slim.pth.gz', folder / 'slim.pth')
    config = Config.fromfile(folder / 'slim_config.py')
    model = MODELS.build(config.model)
    state = torch.load(weights, weights_only=True)['state_dict']
    model.load_state_dict(state)
    check_outputs(model, outputs)
    config.merge_from_dict(dict(work_dir=str(tmp_path), load_from=weights))
    measured = Runner.from_cfg(config).test()
    assert 0 <= measured['accuracy'] <= 1


def check_outputs(model, outputs):
    with torch.no_grad():
        found = model.eval()(ToyImages().images)
    expected = torch.tensor(outputs['outputs'])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
