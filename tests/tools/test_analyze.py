"""tools/analyze.py: what it finds, how it says so, what it refuses."""

import json

import pytest

from chex_mm.cli.command_line import load_config

from ..engine.small_detectors import DETECTORS, SIDE, small_config
from .test_command_line import command

pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in ('torch.meshgrid', '`torch.cuda.amp')
]
KEYS = (
    'config groups channels pinned pinned_work unknown_ops flops params '
    'max_abs_diff max_rel_diff seconds'
).split()


@pytest.fixture(scope='module')
def retinanet(tmp_path_factory):
    """A config file, and a size of image."""
    path = tmp_path_factory.mktemp('config') / 'retinanet.py'
    small_config('retinanet').dump(path)
    return path, '--shape', SIDE


@pytest.fixture
def analyse(monkeypatch, capsys):
    """Runs the tool and gives what it wrote to standard output."""

    def run(*arguments):
        command(monkeypatch, 'analyze.py', *arguments)
        out, said = capsys.readouterr()
        lines = [line for line in said.splitlines() if line[:1] == '[']
        verified = '--verify' in arguments
        assert lines[-1].startswith('[3/3] cut' if verified else '[2/2] trace')
        return out

    return run


def test_json_is_all_of_the_output(analyse, retinanet):
    found = json.loads(
        analyse(*retinanet, '--verify', '--json', '--divisor=1')
    )
    assert list(found) == KEYS
    assert found['config'] == str(retinanet[0])
    # Each stage has a residual stream and two inner layers; the FPN's
    # laterals are one sum and its outputs enter one head, of 2 + 2 layers.
    assert found['groups'] == 4 * 3 + 2 + 4
    assert found['channels'] == 3 * (8 + 16 + 32 + 64) + 6 * 16
    reasons = sorted(found['pinned'].items())
    assert [n for _, n in reasons] == [9 * 4 + 9 * 4, 3]
    assert reasons[0][0] == 'it leaves the model'
    assert reasons[1][0].startswith('it meets something of fixed size')
    assert found['pinned_work'] == []  # each layer reads or computes free ones
    assert found['unknown_ops'] == []
    flops, params = found['flops'], found['params']
    assert 0.45 < flops['slim'] / flops['dense'] <= 0.5
    assert 0 < params['slim'] < params['dense']
    assert found['max_abs_diff'] < 1e-5
    assert 0 < found['seconds'] < 100


def test_nothing_is_verified_unasked(analyse, retinanet):
    found = json.loads(analyse(*retinanet, '--json', '--keep=0.7', '--strict'))
    assert found['max_abs_diff'] is found['max_rel_diff'] is None
    assert 0.6 < found['flops']['slim'] / found['flops']['dense'] <= 0.7


def test_people_get_plain_tables_without_a_terminal(analyse, retinanet):
    text = analyse(*retinanet, '--verify', '--divisor=1')
    assert text.isascii()
    assert '\x1b' not in text
    assert 'channel groups may be cut' in text
    assert 'backbone.layer1.0.conv1' in text
    assert 'it leaves the model' in text
    assert 'Pinned compute: 0.0% of the FLOPs' in text
    assert 'masked and narrow: largest difference ' in text
    assert 'G dense' in text


def test_what_is_pinned_is_said_by_module(analyse, tmp_path):
    config = small_config('retinanet')
    config.model.neck.norm_cfg = dict(type='GN', num_groups=1)
    path = tmp_path / 'normed.py'
    config.dump(path)
    text = analyse(path, '--shape', SIDE, '--divisor=1', '--keep=0.9')
    share, _, rest = text.partition('Pinned compute: ')[2].partition('%')
    assert 0 < float(share) < 50
    module, gigaflops, of_all, by = rest.splitlines()[2].split(maxsplit=3)
    assert module == 'neck.fpn_convs.0.conv'
    assert 0 < float(gigaflops) and 0 < float(of_all[:-1]) <= float(share)
    assert by.strip().split('; ') == [
        'out: it is a single channel',
        'in: it is a single channel',
    ]


@pytest.mark.parametrize(
    'arguments, text',
    [
        (['--keep=0.001'], 'is out of reach: the share can be between 0.'),
        (['--keep=2'], 'keep=2.0 is not a share of the dense model'),
        (['--divisor=0'], 'divisor=0 must be at least 1'),
        (['--shape', '1', '2', '3'], '--shape takes one number or two.'),
        (
            ['--cfg-options', 'default_scope=mmengine'],
            'is for none of mmdet, mmdet3d, mmpretrain and mmseg '
            "(default_scope = 'mmengine')",
        ),
    ],
)
def test_what_it_refuses(arguments, text, retinanet, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        command(monkeypatch, 'analyze.py', *retinanet, *arguments)
    out, said = capsys.readouterr()
    assert stopped.value.code == 2
    assert out == ''
    assert text in said.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize('name', DETECTORS)
def test_configs_of_mmdet(name, analyse):
    path = f'mmdet::{DETECTORS[name][0]}'
    assert load_config(path).model
    # SSD's last maps vanish in a smaller image.
    side = 320 if name == 'ssd' else SIDE
    found = json.loads(analyse(path, '--verify', '--json', '--shape', side))
    assert found['config'] == path
    assert found['unknown_ops'] == []
    assert 0.4 < found['flops']['slim'] / found['flops']['dense'] <= 0.5
    assert min(found['max_abs_diff'], found['max_rel_diff']) < 1e-5
