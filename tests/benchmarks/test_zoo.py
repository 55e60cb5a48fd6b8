"""What is said about an architecture follows from what it does."""

import copy
import json
from dataclasses import asdict
from functools import partial

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

import chex_mm
from benchmarks.zoo import verdict as zoo
from benchmarks.zoo.configs import architecture_key, architectures
from benchmarks.zoo.sources import from_config
from benchmarks.zoo.table import table_text
from benchmarks.zoo.verdict import Verdict
from chex_mm.deploy.slimming import build_model
from chex_mm.trace.replay import FailsUncut

from ..engine.small_detectors import small_config

SIDE = 64


def judge(name, config, side):
    return zoo.judge(name, partial(from_config, config, side))


@pytest.fixture
def config():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield small_config('retinanet')


def test_a_detector_is_exact(config):
    verdict = judge('small', config, SIDE)
    assert (verdict.status, verdict.reason) == ('exact', '')
    assert set(verdict.differences) == {'random', 'norms', 'reloaded'}
    assert 0 < max(verdict.differences.values()) < 1e-4
    assert verdict.prunable > 0.95 and verdict.unknown == []
    assert 0.4 < verdict.reached <= 0.5
    assert verdict.side == SIDE
    assert Verdict(**json.loads(json.dumps(asdict(verdict)))) == verdict


def test_a_wrong_cut_is_found(config, monkeypatch):
    def wrong(model, graph, keep):
        narrow = chex_mm.slim(model, graph, keep)
        with torch.no_grad():
            next(narrow.bbox_head.parameters()).mul_(1.1)
        return narrow

    monkeypatch.setattr(zoo, 'slim', wrong)
    verdict = judge('small', config, SIDE)
    assert verdict.status == 'different'
    assert verdict.reason.startswith("the outputs differ: {'random': 0.")


def test_code_that_fails_before_any_cut_is_not_judged():
    def make():
        raise FailsUncut('With channels masked, no positive sample.')

    verdict = zoo.judge('small', make)
    assert (verdict.status, verdict.reason) == (
        'not runnable',
        'its own code fails: With channels masked, no positive sample.',
    )


def test_a_part_that_stops_learning_is_found(config, monkeypatch):
    def frozen(model, graph, keep):
        narrow = chex_mm.slim(model, graph, keep)
        narrow.neck.fpn_convs[0].conv.weight.requires_grad_(False)
        return narrow

    monkeypatch.setattr(zoo, 'slim', frozen)
    verdict = judge('small', config, SIDE)
    text = 'the narrow neck.fpn_convs.0.conv.weight has no gradient'
    assert (verdict.status, verdict.reason) == ('different', text)


def test_a_model_whose_train_returns_nothing(config, monkeypatch):
    kind = type(build_model(config))
    train = kind.train

    def silent(model, mode=True):
        train(model, mode)

    monkeypatch.setattr(kind, 'train', silent)
    assert judge('small', config, SIDE).status == 'exact'


def test_a_model_that_does_not_train_itself_is_not_trained(
    config, monkeypatch
):
    def broken(model, inputs, data_samples):
        return {'loss': torch.zeros(())}  # has nothing to go back to

    kind = type(build_model(config))
    monkeypatch.setattr(kind, 'loss', broken)
    verdict = judge('small', config, SIDE)
    assert verdict.status == 'exact'
    text = 'but its own training step fails: element 0 of tensors does not'
    assert verdict.reason.startswith(text)


def test_a_model_that_cannot_be_built_fails_with_its_own_words(config):
    config.model.backbone.depth = 17
    verdict = judge('small', config, SIDE)
    assert verdict.status == 'fails'
    assert 'invalid depth 17' in verdict.reason


def test_shares_count_layers_whose_rows_or_columns_may_be_cut():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    graph = chex_mm.trace_channels(model, torch.randn(2, 3))
    found = zoo.describe_graph(graph)
    assert (found['groups'], found['prunable']) == (1, 1.0)
    alone = chex_mm.trace_channels(nn.Linear(3, 4), torch.randn(2, 3))
    found = zoo.describe_graph(alone)
    assert (found['groups'], found['prunable']) == (0, 0.0)
    assert set(found['pinned'].values()) == {1.0}


def test_weights_and_training_are_no_architecture(config):
    other = copy.deepcopy(config.model)
    other.backbone.init_cfg = dict(type='Pretrained', checkpoint='x')
    other.bbox_head.num_classes = 7
    other.train_cfg = None
    assert architecture_key(other) == architecture_key(config.model)
    other.backbone.depth = 34
    assert architecture_key(other) != architecture_key(config.model)


def test_one_config_stands_for_an_architecture(tmp_path):
    for name, text in {
        '_base_/model.py': "model = dict(type='Base')",
        'a/long.py': "model = dict(type='A', train_cfg=2)",
        'a/short.py': "model = dict(type='A', train_cfg=1)",
        'a/wide.py': "model = dict(type='A', width=2)",
        'b/broken.py': "_base_ = 'absent.py'",
        'b/data.py': 'batch = 2',
        'b/last.py': "model = dict(type='B')",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(architectures(tmp_path)) == [
        'a/long.py',
        'a/wide.py',
        'b/last.py',
    ]
    assert list(architectures(tmp_path, one_per_folder=True)) == [
        'a/long.py',
        'b/last.py',
    ]
    assert list(architectures(tmp_path, only=['b/', 'wide'])) == [
        'b/last.py',
        'a/wide.py',
    ]


def test_only_what_configs_may_lack_leaves_them_out(tmp_path):
    (tmp_path / 'a').mkdir()
    config = tmp_path / 'a' / 'first.py'
    config.write_text('import absent_package')
    assert list(architectures(tmp_path)) == []
    config.write_text('model = 1 / 0')
    with pytest.raises(ZeroDivisionError):
        list(architectures(tmp_path))


def test_numbers_in_names_are_numbers(tmp_path):
    for depth in (101, 18, 50):
        path = tmp_path / 'a' / f'r{depth}.py'
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"model = dict(type='A', depth={depth})")
    found = list(architectures(tmp_path))
    assert found == ['a/r18.py', 'a/r50.py', 'a/r101.py']


def test_the_table_names_what_is_not_exact():
    verdicts = [
        Verdict(
            'a.py',
            'exact',
            groups=3,
            differences={'random': 2e-6},
            date='2026-01-02',
        ),
        Verdict(
            'b.py',
            'fails',
            'needs a package',
            unknown=['aten.foo.default  neck  (1,) -> (1,)'],
            pinned={'it leaves the model': 0.25},
        ),
        Verdict('c.py', 'not runnable', 'it needs a GPU'),
    ]
    text = table_text(verdicts, ['torch 2', 'mmdet 3'], 5)
    counts = '1 exact, 1 fails, 1 not runnable.'
    assert f'3 of 5 architectures have been put to the test: {counts}' in text
    failed, _, rest = text.partition('## Not runnable')
    assert '- `c.py`: not runnable: it needs a GPU' in rest
    assert '`c.py`: ' not in failed
    assert '| `a.py` | exact | 3 | 0.0% | 100.0% | 2e-06 |' in text
    assert '| 0 | 0.0 | 0 | 0.0 | 2026-01-02 |' in text
    assert '- `b.py`: fails: needs a package' in failed
    assert '- `aten.foo.default`: 1 times' in text
    assert '- `b.py`: it leaves the model (25.0%)' in text
