"""tools/train.py and tools/test.py: what they run and what they refuse."""

import os
import pickle
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.testing.runner_test_case import RunnerTestCase

from chex_mm.engine.command_line import (
    CommandError,
    find_checkpoint,
    load_config,
    use_scope,
)

ROOT = Path(__file__).parents[2]
RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'


def command(monkeypatch, script, *arguments):
    """Runs a script of `tools/` in this process."""
    path = str(ROOT / 'tools' / script)
    monkeypatch.setattr(sys, 'argv', [path, *map(str, arguments)])
    monkeypatch.setenv('LOCAL_RANK', '0')
    runpy.run_path(path, run_name='__main__')


@pytest.fixture
def refused(monkeypatch, capsys):
    """Runs a script that must fail, and gives its last words."""

    def run(script, *arguments):
        with pytest.raises(SystemExit) as stopped:
            command(monkeypatch, script, *arguments)
        said = capsys.readouterr().err
        assert stopped.value.code == 2
        assert said.count('\n') == 1
        return said

    return run


class Toy(RunnerTestCase):
    """mmengine's toy model, which these tests write to a config file."""

    def runTest(self):
        """unittest asks for a test method."""


@pytest.fixture
def toy(tmp_path):
    """A config file that trains in no time."""
    case = Toy()
    case.setUp()
    config = case.epoch_based_cfg
    config.pop('work_dir')
    config.default_hooks.visualization = dict(type='DrawNothingHook')
    config.dump(tmp_path / 'toy.py')
    yield tmp_path / 'toy.py'
    case.tearDown()


def test_config_by_path_with_overrides(toy):
    config = load_config(str(toy), {'train_cfg.max_epochs': 7})
    assert config.model.type == 'ToyModel'
    assert config.train_cfg.max_epochs == 7


def test_config_of_an_installed_package_builds_its_model():
    config = load_config(RETINANET, {'model.backbone.init_cfg': None})
    assert config.model.type == 'RetinaNet'
    use_scope(config)
    model = MODELS.build(config.model)
    assert type(model).__module__ == 'mmdet.models.detectors.retinanet'


@pytest.mark.parametrize(
    'name, text',
    [
        ('nothing/here.py', "there is no config file 'nothing/here.py'."),
        (
            'mmdet::retinanet/retinanet_r50_1x_coco.py',
            "mmdet has no config 'retinanet/retinanet_r50_1x_coco.py'. Did "
            'you mean mmdet::retinanet/retinanet_r',
        ),
        ('mmdet::q', "mmdet has no config 'q'."),
        ('mmnone::a/b.py', "package 'mmnone', which is not installed"),
        ('../x::a/b.py', "package '../x', which is not installed"),
    ],
)
def test_wrong_config_name(name, text, refused):
    assert text in refused('train.py', name)
    assert text in refused('test.py', name, 'some.pth')


@pytest.mark.parametrize(
    'content, text',
    [
        ("_base_ = ['absent.py']", 'absent.py'),
        ('model = dict(', 'syntax'),
        ('total = 1', 'has no `model`; is it a part that others take'),
        (
            "model = dict()\ndefault_scope = 'mmnone'",
            "default_scope='mmnone', and there is no package of that name",
        ),
    ],
)
def test_wrong_config_content(content, text, tmp_path, refused):
    (tmp_path / 'wrong.py').write_text(content)
    assert text in refused('train.py', tmp_path / 'wrong.py')


def test_wrong_override(toy, refused):
    said = refused(
        'train.py', toy, '--cfg-options', 'val_evaluator.9.type=ToyMetric'
    )
    assert '--cfg-options: ' in said


def test_config_that_is_no_config(tmp_path, refused):
    (tmp_path / 'notes.txt').write_text('hello')
    assert 'notes.txt cannot be read' in refused(
        'train.py', tmp_path / 'notes.txt'
    )


def test_missing_checkpoint(toy, refused):
    text = "error: there is no checkpoint file 'gone.pth'.\n"
    assert refused('test.py', toy, 'gone.pth') == text
    assert refused('train.py', toy, '--resume', 'gone.pth') == text
    assert find_checkpoint('https://a/b.pth') == 'https://a/b.pth'


def test_learning_rate_scale_without_batch_size(toy, refused):
    assert 'add auto_scale_lr=dict(base_batch_size=16)' in refused(
        'train.py', toy, '--auto-scale-lr'
    )


def test_predictions_need_a_pickle_name(toy, tmp_path, refused):
    (tmp_path / 'any.pth').touch()
    said = refused('test.py', toy, tmp_path / 'any.pth', '--out', 'a.json')
    assert '--out a.json: the name must end in .pkl.' in said


def test_drawing_needs_the_hook(tmp_path, refused):
    (tmp_path / 'bare.py').write_text('model = dict()')
    (tmp_path / 'any.pth').touch()
    said = refused(
        'test.py', tmp_path / 'bare.py', tmp_path / 'any.pth', '--show'
    )
    assert "visualization=dict(type='DetVisualizationHook')" in said
