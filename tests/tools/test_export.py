"""tools/export.py: what it prints and what it refuses, in one line."""

import pytest

from ..deploy.test_export import SIDE, slimmed  # noqa: F401
from .test_command_line import command, refused  # noqa: F401

pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in ('torch.meshgrid', '`torch.cuda.amp', 'DeprecationWarning')
]


@pytest.fixture
def arguments(slimmed):  # noqa: F811
    names = [slimmed / 'slim_config.py', slimmed / 'slim.pth']
    return [*names, '--shape', SIDE]


def test_it_says_what_it_wrote(arguments, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'new' / 'det.pt'
    options = ['--out', out, '--format=torchscript', '--repeats=1']
    command(monkeypatch, 'export.py', *arguments, *options)
    said, told = capsys.readouterr()
    assert f'torchscript; written to {out.parent}:' in said
    assert 'det.roi_head.bbox_head.pt: roi_head.bbox_head, input' in said
    assert 'decoding of boxes and NMS' in said
    assert 'slim TorchScript' in said and 'batch 8' in said
    stages = [line for line in told.splitlines() if line.startswith('[')]
    assert stages[0] == '[1/4] build and run the slim model'
    assert stages[-1] == '[4/4] measure batches of 8'
    assert len(list(out.parent.iterdir())) == 3


def test_what_it_refuses(arguments, tmp_path, refused):  # noqa: F811
    config, checkpoint, *shape = arguments
    out = ['--out', tmp_path / 'det.onnx']
    three = ['--shape', '1', '2', '3']
    assert '--shape takes one number or two.' in refused(
        'export.py', config, checkpoint, *out, *three
    )
    assert '--repeats must be 0 or more.' in refused(
        'export.py', *arguments, *out, '--repeats=-1'
    )
    assert "there is no checkpoint file 'gone.pth'" in refused(
        'export.py', config, 'gone.pth', *out
    )
    (tmp_path / 'det.onnx').touch()
    assert 'det.onnx exists; pass --overwrite' in refused(
        'export.py', *arguments, *out
    )
    assert [p.name for p in tmp_path.iterdir()] == ['det.onnx']
