"""What a command says about what went wrong, and what it leaves to Python."""

import logging
import pickle
import warnings
from urllib.error import URLError

import pytest
from mmengine.registry import Registry

from chex_mm.cli.command_errors import CommandError, run_command
from chex_mm.errors import ChexError, one_line

PARTS = Registry('part')


@PARTS.register_module()
class Wheel:
    """Takes a radius."""

    def __init__(self, radius):
        if radius < 0:
            raise ValueError(f'radius={radius}\nand more')


@pytest.fixture
def said(capsys, monkeypatch):
    """What is told of an error, in one line."""
    # mmengine's logger may hold the stream of an earlier test, closed since.
    monkeypatch.setattr(logging, 'raiseExceptions', False)

    def run(fail):
        with pytest.raises(SystemExit) as stopped:
            run_command(fail)
        assert stopped.value.code == 2
        text = capsys.readouterr().err
        assert text.startswith('error: ') and text.count('\n') == 1
        return text[len('error: ') : -1]

    return run


def raising(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize(
    'error, text',
    [
        (CommandError('no.'), 'no.'),
        (
            OSError(28, 'No space left on device'),
            'a file cannot be written: No space left on device.',
        ),
        (
            OSError(28, 'No space left on device', 'work/iter_1.pth'),
            'work/iter_1.pth: No space left on device.',
        ),
        (ChexError('not so.'), 'not so.'),
        (FileNotFoundError(2, 'No such', 'a.json'), 'there is no file a.json'),
        (FileExistsError(17, 'File exists', 'work'), 'work: File exists.'),
        (URLError('refused'), 'an address cannot be read: refused. Download'),
        (
            pickle.UnpicklingError('bad.\nCheck the documentation'),
            'a pickled file cannot be read: bad. If it is a checkpoint',
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(error, text, said):
    assert said(raising(error)).startswith(text)


@pytest.mark.parametrize(
    'part, text',
    [
        (
            dict(type='Cart'),
            'Cart of the config cannot be built: KeyError: Cart is not',
        ),
        (
            dict(type='Wheel', size=1),
            'Wheel of the config cannot be built: TypeError: ',
        ),
        (
            dict(type='Wheel', radius=-1),
            'Wheel of the config cannot be built: ValueError: radius=-1 (',
        ),
    ],
)
def test_what_a_registry_cannot_build_is_named(part, text, said):
    assert said(lambda: PARTS.build(part)).startswith(text)


@pytest.mark.parametrize(
    'error', [RuntimeError('diverged'), OSError('no space left')]
)
def test_a_fault_shows_where_it_is(error):
    with pytest.raises(type(error)):
        run_command(raising(error))


def test_what_libraries_tell_their_developers_is_not_shown():
    def warn():
        warnings.warn('pkg_resources is deprecated as', stacklevel=1)

    run_command(warn)
    with pytest.raises(UserWarning, match='mine'):
        run_command(lambda: warnings.warn('mine', stacklevel=1))


def test_one_line_is_without_quotes_and_advice():
    assert one_line(KeyError('no depth 33')) == 'no depth 33'
    assert one_line(ValueError('')) == ''
    text = 'Weights only load failed. In PyTorch 2.6, we changed'
    assert one_line(pickle.UnpicklingError(text)) == (
        'Weights only load failed.'
    )
