"""tools/chexify.py: what it prints and what it refuses, in one line."""

import pytest

from ..engine.small_detectors import SIDE, small_config
from .test_command_line import command, refused  # noqa: F401

pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in ('torch.meshgrid', '`torch.cuda.amp')
]


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp('config') / 'retinanet.py'
    small_config('retinanet').dump(path)
    return path


def test_it_says_what_the_budget_leaves(base, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'mine.py'
    options = ['--out', out, '--shape', SIDE, '--keep=0.7', '--divisor=2']
    command(monkeypatch, 'chexify.py', base, *options)
    text, said = capsys.readouterr()
    assert 'Dense: 0.0' in text and 'The budget leaves 0.0' in text
    assert '  72 channels: it leaves the model' in text
    assert text.splitlines()[-1] == f'python tools/train.py {out}'
    assert 'INFO' not in text and out.is_file()
    assert f'[3/3] write {out}' in said


@pytest.mark.parametrize(
    'options, text',
    [
        (['--shape', '1', '2', '3'], '--shape takes one number or two.'),
        (['--of-scope'], '--of-scope needs --scope.'),
        (['--keep=0'], 'keep=0.0 is not a share of the dense model'),
        (['--divisor=0'], 'divisor=0 must be at least 1'),
        (['--shape=0'], '--shape takes numbers of pixels, such as 320.'),
        (['--out=mine.txt'], '--out mine.txt: the name must end in .py.'),
        (['--out=.'], '. is a directory; name a file in it.'),
    ],
)
def test_what_it_refuses(options, text, base, tmp_path, refused):  # noqa: F811
    out = tmp_path / 'mine.py'
    assert text in refused('chexify.py', base, '--out', out, *options)
    assert not out.exists()


def test_a_file_that_exists_stays(base, tmp_path, refused):  # noqa: F811
    out = tmp_path / 'mine.py'
    out.write_text('mine')
    said = refused('chexify.py', base, '--out', out)
    assert 'mine.py exists; pass --overwrite to replace it.' in said
    assert out.read_text() == 'mine'
    assert 'there is no config file' in refused(
        'chexify.py', 'nowhere.py', '--out', tmp_path / 'other.py'
    )
