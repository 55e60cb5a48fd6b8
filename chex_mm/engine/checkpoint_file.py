"""Checkpoint files, looked at before anything is built from them.

Whatever a file holds that is no checkpoint is said in one line that names it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader

from ..errors import ChexError, one_line

RESUMED = {'meta', 'state_dict', 'message_hub'}  # what mmengine must find


def outline(path: str | Path) -> Mapping:
    """What a checkpoint file holds; values of tensors are not read.

    Raises:
        ChexError: It cannot be read, or holds something else.
    """
    # Files of torch before 1.6 can only be read whole.
    mapped = dict(mmap=True) if zipfile.is_zipfile(path) else {}
    return _read(torch.load, path, map_location='cpu', **mapped)


def load(name: str) -> Mapping:
    """What a checkpoint holds, on the CPU.

    Args:
        name: File or address.

    Raises:
        ChexError: It cannot be read, or holds something else.
    """
    return _read(CheckpointLoader.load_checkpoint, name, map_location='cpu')


def _read(reader: Callable, name: str | Path, **options) -> Mapping:
    try:
        loaded = reader(name, **options)
    except OSError:  # it names the file
        raise
    except Exception as error:  # whatever a file may hold
        raise ChexError(
            f'{name} is not a readable checkpoint: '
            f'{one_line(error) or type(error).__name__}'
        ) from error
    check_kind(loaded, str(name))
    return loaded


def check_kind(loaded: object, name: str) -> None:
    """Refuses what was read if it is neither a checkpoint nor weights.

    Raises:
        ChexError: Says what it is.
    """
    if not isinstance(loaded, Mapping):
        raise ChexError(
            f'{name} is not a checkpoint: it holds a {type(loaded).__name__}, '
            "not a dict with 'state_dict'."
        )
    weights = loaded.get('state_dict', loaded)
    if not isinstance(weights, Mapping):
        raise ChexError(
            f"{name} is not a checkpoint: its 'state_dict' is a "
            f'{type(weights).__name__}.'
        )


def check_start(name: str, resume: bool) -> None:
    """Refuses what a run cannot start from; addresses are left to mmengine.

    Args:
        name: File or address.
        resume: Whether the run goes on, rather than takes the weights.

    Raises:
        ChexError: Says what is wrong with the file.
    """
    if '://' not in name:
        (check_resumable if resume else outline)(name)


def check_resumable(path: str | Path) -> None:
    """Refuses a file that no run of mmengine can go on from.

    Raises:
        ChexError: Says what it lacks.
    """
    lacking = RESUMED - outline(path).keys()
    if lacking:
        raise ChexError(
            f'{path} is not the checkpoint of a run that can go on: it lacks '
            f'{", ".join(sorted(lacking))}. To start from its weights write '
            'load_from=... in the config, without --resume.'
        )
