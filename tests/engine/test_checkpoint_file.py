"""What is no checkpoint is said before anything is built from it."""

import re

import pytest
import torch

from chex_mm.engine.checkpoint_file import (
    check_kind,
    check_resumable,
    check_start,
    outline,
)
from chex_mm.engine.explored_checkpoint import read_checkpoint
from chex_mm.errors import ChexError

WHOLE = dict(meta={}, state_dict={}, message_hub={})

NO_CHECKPOINTS = {
    'text': (lambda path: path.write_text('hello'), 'is not a readable'),
    'nothing': (lambda path: path.touch(), 'is not a readable checkpoint'),
    'cut': (
        lambda path: (
            torch.save(WHOLE, path),
            path.write_bytes(path.read_bytes()[:-99]),
        ),
        'is not a readable checkpoint',
    ),
    'tensor': (lambda path: torch.save(torch.ones(3), path), 'a Tensor, not'),
    'list': (lambda path: torch.save([1], path), 'it holds a list, not a'),
    'None': (lambda path: torch.save(None, path), 'it holds a NoneType, not'),
    'weights': (
        lambda path: torch.save(dict(state_dict=[1]), path),
        "its 'state_dict' is a list.",
    ),
}


@pytest.mark.parametrize('read', [outline, check_resumable, read_checkpoint])
@pytest.mark.parametrize('kind', NO_CHECKPOINTS)
def test_what_is_no_checkpoint_is_said_in_one_line(tmp_path, kind, read):
    path = tmp_path / 'file.pth'
    write, text = NO_CHECKPOINTS[kind]
    write(path)
    with pytest.raises(ChexError, match=re.escape(text)) as error:
        read(str(path))
    assert str(path) in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('legacy', [False, True])
def test_a_checkpoint_is_read(tmp_path, legacy):
    path = tmp_path / 'file.pth'
    torch.save(WHOLE, path, _use_new_zipfile_serialization=not legacy)
    assert outline(path) == WHOLE
    assert check_resumable(path) is None


def test_weights_alone_are_no_run(tmp_path):
    torch.save(dict(state_dict={}, meta={}), tmp_path / 'file.pth')
    with pytest.raises(ChexError, match='it lacks message_hub. To start'):
        check_resumable(tmp_path / 'file.pth')


def test_an_address_is_left_to_mmengine():
    assert check_start('torchvision://resnet50', resume=True) is None


@pytest.mark.parametrize('resume', [False, True])
def test_a_run_that_goes_on_needs_more_than_weights(tmp_path, resume):
    path = tmp_path / 'file.pth'
    torch.save(dict(state_dict={}), path)
    if resume:
        with pytest.raises(ChexError, match='it lacks message_hub, meta.'):
            check_start(str(path), resume)
    else:
        assert check_start(str(path), resume) is None


def test_bare_weights_may_be_loaded():
    assert check_kind({'head.weight': torch.ones(2)}, 'file') is None
