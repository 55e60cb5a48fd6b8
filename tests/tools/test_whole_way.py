"""From a stock config to a report and an exported file, with the tools alone.

chexify, 20 iterations of training, slim, report, export, for small versions of
the detectors that people use most.
"""

import json

import pytest
import torch
from mmengine.registry import init_default_scope

from chex_mm.cli.command_line import load_config

from ..deploy.test_export import SIDE
from ..deploy.test_export import pytestmark as warnings_of_others
from ..engine.generated_runs import generated, longer_run
from ..engine.stock_detectors import CLOUDS, IMAGES, stock
from .test_command_line import command

pytestmark = [
    pytest.mark.slow,
    *warnings_of_others,
    # One process shows images, then clouds.
    pytest.mark.filterwarnings(
        'ignore:.*instance named of visualizer has been created:UserWarning'
    ),
]
POINTS = 'votenet'


@pytest.mark.parametrize('name', [*IMAGES, *CLOUDS])
def test_from_config_to_file(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    base = stock(name)
    init_default_scope(base.default_scope)
    base.dump('base.py')
    small = ['--keep=0.6', '--divisor=2', '--shape', SIDE]
    command(monkeypatch, 'chexify.py', 'base.py', '--out=chex.py', *small)
    batch = generated(base, (SIDE, SIDE))
    longer_run('chex.py', name, tmp_path / 'run.py', batch, base)
    command(monkeypatch, 'train.py', 'run.py', '--work-dir=work')
    trained = ['run.py', 'work/epoch_4.pth']
    command(monkeypatch, 'slim.py', *trained, '--out=slim', '--images=1')
    report = json.loads((tmp_path / 'slim/report.json').read_text())
    assert report['flops']['slim'] <= 0.6 * report['flops']['dense']
    assert report['max_rel_diff'] < 1e-4
    command(monkeypatch, 'report.py', 'work', '--slim=slim', '--samples=1')
    page = (tmp_path / 'work/report/report.html').read_text()
    assert 'CHEX' in page and (tmp_path / 'work/report/budget.png').is_file()
    made = ['slim/slim_config.py', 'slim/slim.pth', '--shape', SIDE]
    if name == POINTS:
        with pytest.raises(SystemExit) as stopped:
            command(monkeypatch, 'export.py', *made)
        assert stopped.value.code == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert 'on points have no operator in ONNX' in said
        assert not list((tmp_path / 'slim').glob('*.onnx'))
        return
    command(monkeypatch, 'export.py', *made, '--repeats=1')
    found = json.loads((tmp_path / 'slim/slim.json').read_text())
    assert all(f['max_rel_diff'] < 1e-4 for f in found['files'].values())
    assert (tmp_path / 'slim/slim.onnx').is_file()
    weights = torch.load(tmp_path / 'slim/slim.pth', weights_only=True)
    assert load_config('slim/slim_config.py').model.type == 'SlimModel'
    assert all(t.isfinite().all() for t in weights['state_dict'].values())
