"""What a checkpoint will hold, written and read once before training.

What can be written but not read would be missed when the run is resumed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import broadcast_object_list
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from mmengine.utils import apply_to
from torch import Tensor, nn

from ...errors import one_line


def try_checkpoint(runner: Runner) -> None:
    """Refuses a run that could not be resumed; every rank must call it.

    Raises:
        ValueError: Names what cannot be written, or read again.
    """
    if not any(isinstance(hook, CheckpointHook) for hook in runner.hooks):
        return
    trial = _Trial()
    runner.hooks.append(trial)  # sees what all others have added
    try:
        runner.save_checkpoint(runner.work_dir, 'trial.pth', by_epoch=False)
    except _IsTried:
        pass
    finally:
        runner.hooks.remove(trial)
    said = [trial.complaint]  # of the first rank, which alone writes
    broadcast_object_list(said)
    if said[0] is not None:
        raise said[0]


class _IsTried(Exception):
    """Ends the writing of a checkpoint before there is a file."""


class _Trial(Hook):
    """Looks at a checkpoint that is about to be written."""

    complaint: ValueError | None = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Tries it in memory, without the values of its tensors."""
        # Plain tensors can be read; others may not be.
        plain = apply_to(checkpoint, _is_plain, lambda t: t.new_empty(0))
        error = _failure(plain)
        if error is not None:
            self.complaint = _complaint(_place(plain, 'checkpoint'), error)
        raise _IsTried


def _complaint(place: str, error: Exception) -> ValueError:
    return ValueError(
        f'A checkpoint of this run could not be resumed: {place} cannot be '
        f'written and read again ({type(error).__name__}: {one_line(error)}). '
        'Leave out what puts it there, or let it write numbers, text and '
        'tensors.'
    )


def _is_plain(value: Any) -> bool:
    return type(value) in (Tensor, nn.Parameter)


def _failure(value: Any) -> Exception | None:
    """What goes wrong when something is written and read again."""
    file = io.BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        torch.load(file, map_location='cpu')
    except Exception as error:  # of whatever is to be written
        return error
    return None


def _place(value: Any, name: str) -> str:
    """The innermost part that cannot be read, as one would write it."""
    parts = {}
    if isinstance(value, Mapping):
        parts = value
    elif isinstance(value, (list, tuple)):
        parts = dict(enumerate(value))
    for key, part in parts.items():
        if _failure(part) is not None:
            return _place(part, f'{name}[{key!r}]')
    return name
