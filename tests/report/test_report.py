"""The report of a toy run: everything there is, and what is said if not."""

import json
import re
import shutil
from html import unescape

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from chex_mm.deploy.slim_directory import write_directory
from chex_mm.deploy.slimming import slim_checkpoint
from chex_mm.errors import ChexError
from chex_mm.report import Request, report_at_end, write_report
from chex_mm.report.record import read_run
from chex_mm.report.writing import PICTURES

from ..engine.toy_runs import build, chex, loader, toy_config

HOOKS = [chex(steps=4, interval=4, end=16, by_epoch=False)]
DEFAULT = dict(
    checkpoint=dict(type='CheckpointHook', interval=12, by_epoch=False),
    logger=dict(type='LoggerHook', interval=2),
)
RUN = dict(custom_hooks=HOOKS, default_hooks=DEFAULT)
TEST = dict(
    test_dataloader=loader('DefaultSampler', shuffle=False),
    test_cfg=dict(),
    test_evaluator=[dict(type='ToyAccuracy')],
)
# The toy detects nothing that could be drawn.
DRAWN = {f'{name}.png' for name in PICTURES if name != 'detections'}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """The directory of a finished run, with its slim model."""
    folder = tmp_path_factory.mktemp('run')
    config = Config(toy_config(folder, **RUN, **TEST))
    Runner.from_cfg(config).train()
    slimmed = slim_checkpoint(config, str(folder / 'iter_24.pth'))
    write_directory(folder / 'slim', config, slimmed)
    return folder


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the run, from which a test may take something away."""
    return shutil.copytree(run, tmp_path / 'copy')


def plain(path):
    """The words of a page."""
    body = path.read_text().partition('<body>')[2]
    words = re.sub(r'\s+', ' ', re.sub(r'<[^>]+>', ' ', body))
    return unescape(words)


def test_a_page_and_its_pictures(run):
    path = write_report(run)
    assert path == run / 'report/report.html'
    assert {each.name for each in path.parent.glob('*.png')} == DRAWN
    assert path.read_text().count('<img ') == len(DRAWN)
    text = plain(path)
    assert '4 of 4 steps in 24 iterations; the structure is fixed.' in text
    assert 'accuracy, last validation' in text
    assert 'Only boxes are drawn, and this model finds none.' in text
    assert 'batch dense slim faster 1 ' in text
    assert "type='ToyNet'" in text
    assert re.search(r'torch 2\.\d', text)
    # Nothing unfinished is left.
    assert not [p for p in run.iterdir() if p.name.startswith('.')]
    write_report(run, Request(samples=0))
    left = {each.name for each in path.parent.glob('*.png')}
    assert left == DRAWN - {'latency.png'}


def test_numbers_are_those_of_the_slim_model(run):
    report = json.loads((run / 'slim/report.json').read_text())
    text = plain(write_report(run, Request(samples=0)))
    for key in ('flops', 'params'):
        share = report[key]['slim'] / report[key]['dense']
        assert f' {share:.1%} ' in text


def test_a_record_holds_what_the_run_logged(run):
    record = read_run(run, run / 'slim')
    # Validated every 10 iterations and at the end, told at step 0 by mmengine.
    assert record.metrics['accuracy'][0] == [10, 20, 24]
    assert not record.by_epoch
    assert record.is_finished
    assert record.checkpoint == run / 'iter_24.pth'
    assert len(record.keep) == 5


@pytest.mark.slow
def test_epochs_are_told_as_epochs(tmp_path):
    build(tmp_path, by_epoch=True).train()
    record = read_run(tmp_path, tmp_path / 'slim')
    assert record.by_epoch
    assert record.metrics['accuracy'][0] == [2, 4]
    assert 'last epoch' in plain(write_report(tmp_path, Request(samples=0)))


@pytest.mark.slow
def test_a_resumed_run_is_told_once(copy):
    before = read_run(copy, copy)
    changes = dict(load_from=str(copy / 'iter_12.pth'), resume=True)
    build(copy, **RUN, **changes).train()
    after = read_run(copy, copy)
    assert after.metrics['accuracy'][0] == before.metrics['accuracy'][0]
    assert len(after.keep) == len(before.keep)


@pytest.mark.slow
def test_without_a_slim_model_it_says_how_to_get_one(copy):
    shutil.rmtree(copy / 'slim')
    text = plain(write_report(copy))
    assert 'There is no slim model yet.' in text
    assert f'--out {copy}/slim' in text
    assert 'Latency' not in text


def test_what_was_exported_is_told(copy):
    exported = {
        'format': 'onnx',
        'files': {
            'slim.onnx': {'input': ['batch', 3, 64, 96], 'max_rel_diff': 2e-6}
        },
        'latency_ms': {'1': {'slim onnxruntime': 8.58}},
    }
    (copy / 'slim/slim.json').write_text(json.dumps(exported))
    text = plain(write_report(copy, Request(samples=0)))
    assert 'slim.onnx (onnx): the outputs differ' in text
    assert 'by 2e-06 at most' in text
    assert 'for an input of batch x 3 x 64 x 96.' in text
    assert 'batch 1, ms slim onnxruntime 8.6' in text
    del exported['latency_ms']  # --repeats 0
    (copy / 'slim/slim.json').write_text(json.dumps(exported))
    text = plain(write_report(copy, Request(samples=0)))
    assert 'slim.onnx (onnx)' in text and 'batch 1, ms' not in text


@pytest.mark.slow
def test_without_a_checkpoint_it_says_what_is_missing(copy):
    for path in copy.glob('*.pth'):
        if path.name.startswith('iter_'):
            path.unlink()
    path = write_report(copy)
    assert 'last checkpoint, which is not in the directory' in plain(path)
    assert 'There is no slim model yet.' not in plain(path)


@pytest.mark.slow
def test_without_a_log_it_says_what_is_missing(copy):
    for path in copy.glob('*/vis_data/scalars.json'):
        path.unlink()
    text = plain(write_report(copy, Request(samples=0)))
    assert 'The run has not validated, or its visualizer has no' in text


@pytest.mark.slow
def test_without_a_config_no_model_is_built(copy):
    for path in copy.glob('*/vis_data/config.py'):
        path.write_text('')
    with pytest.raises(ChexError, match='to build the models from; pass'):
        write_report(copy)
    assert 'The run has not written its config.' in plain(
        write_report(copy, Request(samples=0))
    )


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(ChexError, match='holds no chex_history.pth') as error:
        write_report(tmp_path)
    assert 'Pass the directory that --work-dir named.' in str(error.value)


@pytest.mark.slow
def test_a_dense_run_may_be_compared(copy):
    dense = build(copy / 'dense', custom_hooks=[], default_hooks=DEFAULT)
    dense.train()
    request = Request(dense=copy / 'dense/iter_24.pth')
    assert 'batch dense slim faster' in plain(write_report(copy, request))
    torch.save({'state_dict': {}}, copy / 'empty.pth')
    with pytest.raises(ChexError, match='is a checkpoint of another model'):
        write_report(copy, Request(dense=copy / 'empty.pth'))


class Logger:
    def __init__(self):
        self.lines = []

    def info(self, line):
        self.lines.append(line)

    error = info


class Ending:
    """A runner that ends."""

    def __init__(self, work_dir):
        self.work_dir, self.logger = str(work_dir), Logger()


def test_the_end_of_a_run_writes_it(copy):
    ending = Ending(copy)
    report_at_end(ending)
    assert ending.logger.lines == [f'CHEX report: {copy}/report/report.html']
    assert 'Latency' not in plain(copy / 'report/report.html')


@pytest.mark.slow
def test_compact_execution_tells_the_same(run, tmp_path):
    hook = chex(
        steps=4, interval=4, end=16, by_epoch=False, execution='compact'
    )
    build(tmp_path, **{**RUN, 'custom_hooks': [hook]}).train()
    masked, compact = read_run(run, run), read_run(tmp_path, tmp_path)
    for one, other in zip(masked.keep, compact.keep, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    text = plain(write_report(tmp_path, Request(samples=0)))
    assert 'Compact execution spends just that.' in text


def test_a_run_is_not_lost_for_its_report(tmp_path):
    ending = Ending(tmp_path)
    report_at_end(ending)
    (line,) = ending.logger.lines
    assert line.startswith('CHEX: the report cannot be written: ChexError: ')
    assert f'python tools/report.py {tmp_path} --debug' in line


def test_odd_names_and_half_a_line_are_no_obstacle(copy):
    """matplotlib takes $...$ for a formula; a killed run leaves a torn end."""
    path = copy / 'chex_history.pth'
    state = torch.load(path, weights_only=True)
    state['groups'] = {
        f'${name}$\\frac': size for name, size in state['groups'].items()
    }
    for cost in (state['dense'], *state['entries']):
        cost['parts'] = {
            f'$\\{name}$': part for name, part in cost['parts'].items()
        }
    torch.save(state, path)
    (scalars,) = copy.glob('*/vis_data/scalars.json')
    with scalars.open('a') as file:
        file.write('{"loss": 1.')
    assert write_report(copy, Request(samples=0)).is_file()
