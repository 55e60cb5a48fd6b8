"""tools/report.py: what it writes for real detectors, what it refuses."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config

from chex_mm.engine.datasets import write_shapes

from .test_command_line import command
from .test_slim import write_config

pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in ('torch.meshgrid', '`torch.cuda.amp')
]


@pytest.fixture
def refused(monkeypatch, capsys):
    """Runs the tool, which must fail, and gives its last words."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            command(monkeypatch, 'report.py', *arguments)
        out, said = capsys.readouterr()
        assert stopped.value.code == 2
        assert out == ''
        return said.splitlines()[-1]

    return run


def test_what_it_refuses(tmp_path, refused):
    assert refused(tmp_path).startswith(
        f'error: {tmp_path} holds no chex_history.pth, so it is not the work '
        'directory of a run with CHEXHook'
    )
    gone = tmp_path / 'gone'
    assert refused(tmp_path, '--slim', gone) == (
        f'error: there is no directory {gone}.'
    )
    assert refused(tmp_path, '--slim', tmp_path) == (
        f'error: {tmp_path} holds no slim.pth; name a directory that '
        'tools/slim.py wrote.'
    )
    assert refused(tmp_path, '--dense', gone) == (
        f"error: there is no checkpoint file '{gone}'."
    )
    assert refused(tmp_path, '--samples=-1') == (
        'error: --samples must be 0 or more.'
    )
    assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
def test_a_detector_is_shown_dense_and_slim(tmp_path, monkeypatch, capsys):
    write_shapes(tmp_path / 'shapes', {'train': 8, 'val': 3})
    path = write_config('retinanet', tmp_path)
    config = Config.fromfile(path)
    config.dump(path)
    monkeypatch.chdir(tmp_path)
    work = tmp_path / 'work'
    command(monkeypatch, 'train.py', path, '--work-dir', work)
    trained = [path, work / 'iter_6.pth']
    command(monkeypatch, 'slim.py', *trained, '--out', work / 'slim')
    assert '[4/4] write' in capsys.readouterr().err
    out = tmp_path / 'elsewhere'
    command(monkeypatch, 'report.py', work, '--out', out, '--samples', '2')
    written, said = capsys.readouterr()
    written = Path(written.strip())
    assert f'[4/4] write {written}' in said
    assert written == out / 'report.html'
    text = written.read_text()
    assert re.search(r'<h2>Latency</h2>.*<td>8</td>', text, re.DOTALL)
    assert 'Left: training checkpoint (dense shape).' in text
    assert (out / 'detections.png').stat().st_size > 10_000
