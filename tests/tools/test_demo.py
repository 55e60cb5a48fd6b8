"""tools/demo.py: both tasks in one runner, its table, and a very short run."""

import importlib.util
import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from rich.console import Console

from chex_mm.report.writing import PICTURES

from .test_command_line import forget_instances

ROOT = Path(__file__).parents[2]
KEYS = 'flops params file_bytes latency_ms mAP max_abs_diff seconds'.split()
RESULT = {
    'flops': {'dense': 2e9, 'slim': 1e9},
    'params': {'dense': 4e6, 'slim': 1e6},
    'file_bytes': {'dense': 16e6, 'slim': 4e6},
    'latency_ms': {'dense': 50.0, 'slim': 40.0},
    'mAP': {
        'masked': {'0.25': 0.5, '0.50': 0.0},
        'slim': {'0.25': 0.5, '0.50': 0.125},
    },
}
SHORT = """
_base_ = {base!r}
train_cfg = dict(max_iters=8, val_interval=8)
default_hooks = dict(checkpoint=dict(interval=8))
data_root = {data!r}
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
"""


@pytest.fixture(scope='module')
def demo():
    """tools/demo.py as a module."""
    spec = importlib.util.spec_from_file_location(
        'demo_tool', ROOT / 'tools' / 'demo.py'
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules['demo_tool'] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules['demo_tool']


def test_table_shows_both_models_and_their_ratio(demo):
    console = Console(width=100)
    with console.capture() as captured:
        console.print(demo.table(RESULT))
    rows = [
        [cell.strip() for cell in line.split('│')[1:-1]]
        for line in captured.get().splitlines()
        if '│' in line
    ]
    assert rows == [
        ['GFLOPs (multiply-adds)', '2', '1', '0.50'],
        ['parameters, M', '4', '1', '0.25'],
        ['file, MB', '16', '4', '0.25'],
        ['latency, ms (CPU, batch 1)', '50', '40', '0.80'],
        ['mAP (0.25)', '0.500', '0.500', '1.00'],
        ['mAP (0.50)', '0.000', '0.125', '-'],
    ]


def test_progress_says_what_is_left(demo, capsys):
    progress = demo.Progress((1, 2, 3, 0.2, 0.1))
    for _ in demo.STAGES:
        progress.next()
    said = capsys.readouterr().out
    assert '[1/5] write the data set (about 6 min left' in said
    assert '[3/5] slim (about 3 min left' in said
    assert '[5/5] measure latency, report (about 1' in said
    assert progress.seconds > 0


def test_what_comes_next_can_be_pasted(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = demo.DEMOS['2d']
    test, export, report = demo.next_steps(chosen, Path('run'))
    assert test.endswith('run/slim/slim_config.py run/slim/slim.pth')
    assert export.endswith('slim.pth --format onnx --shape 128')
    assert report.startswith('python tools/report.py run')
    assert demo.next_steps(demo.DEMOS['3d'], Path('run')) == [test]
    readme = (ROOT / 'README.md').read_text()
    for line in demo.next_steps(chosen, Path(chosen.work_dir)):
        assert line.partition('  #')[0] in readme
    monkeypatch.setattr(sys, 'prefix', str(tmp_path / '.venv'))
    first, *_ = demo.next_steps(chosen, Path('run'))
    assert first == 'source .venv/bin/activate'


@pytest.mark.parametrize('task', ['2d', '3d'])
def test_what_a_demo_names_is_there(demo, task):
    chosen = demo.DEMOS[task]
    assert len(chosen.minutes) == len(demo.STAGES)
    # The promise of the README and of the Makefile.
    assert sum(chosen.minutes) < 10
    assert (ROOT / chosen.config).is_file()
    module, function = chosen.writer
    package = import_module(f'chex_mm.engine.datasets.{module}')
    assert callable(getattr(package, function))


def write_few(monkeypatch, module, function):
    """Makes the data set of a demo a small one."""
    package = import_module(f'chex_mm.engine.datasets.{module}')
    write = getattr(package, function)
    few = {'train': 8, 'val': 3}
    monkeypatch.setattr(package, function, lambda data: write(data, few))


@pytest.mark.slow
# What mmengine, mmcv and mmdet3d say in any such run.
@pytest.mark.filterwarnings(
    'ignore:.*instance named of visualizer has been created:UserWarning',
    'ignore:Unnecessary conv bias before:UserWarning',
    'ignore:Conversion of an array with ndim > 0:DeprecationWarning',
)
@pytest.mark.parametrize('task', ['2d', '3d'])
def test_a_very_short_run(demo, task, tmp_path, monkeypatch):
    if task == '3d':
        pytest.importorskip('mmdet3d', reason='needs mmdet3d')
    chosen = demo.DEMOS[task]
    data, config = f'{tmp_path}/data/', tmp_path / 'short.py'
    base = str(ROOT / chosen.config)
    text = SHORT.format(base=base, data=data)
    if task == '2d':
        text += "val_evaluator = dict(ann_file=data_root + 'val.json')\n"
        text += 'test_evaluator = val_evaluator\n'
    config.write_text(text)
    short = replace(chosen, config=str(config), data=data)
    monkeypatch.setitem(demo.DEMOS, task, short)
    write_few(monkeypatch, *chosen.writer)
    work_dir = tmp_path / 'run'
    monkeypatch.setattr(
        sys, 'argv', ['demo.py', '--task', task, '--work-dir', str(work_dir)]
    )
    monkeypatch.chdir(ROOT)
    forget_instances()
    demo.main()
    found = json.loads((work_dir / 'report.json').read_text())
    assert [*found] == KEYS
    assert 0.4 < found['flops']['slim'] / found['flops']['dense'] <= 0.5
    assert found['params']['slim'] < found['params']['dense']
    assert [*found['mAP']['masked']] == [*chosen.metrics]
    assert found['mAP']['slim'] == pytest.approx(
        found['mAP']['masked'], abs=0.02
    )
    assert found['max_abs_diff'] < 1e-3
    assert 0 < found['latency_ms']['slim']
    for name in PICTURES:
        assert (work_dir / f'report/{name}.png').read_bytes()[1:4] == b'PNG'
    page = (work_dir / 'report/report.html').read_text()
    assert '<h2>Latency</h2>' in page and '<h2>Detections</h2>' in page
