"""The last whole checkpoint of a work directory, whatever else lies there."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mmengine.logging import print_log

from ..errors import ChexError
from .checkpoint_file import RESUMED, outline

NOTE = 'last_checkpoint'  # where mmengine writes which one that is


def latest_checkpoint(work_dir: str) -> str | None:
    """The checkpoint to resume in a work directory.

    The one that mmengine noted, if it is there and complete (mmengine removes
    old ones before it writes the next), else the newest complete one.
    """
    folder = Path(work_dir)
    for path in _noted(folder):
        if _progress(path) is not None:
            return str(path)
    # Files that were copied have other times than those they were written at.
    found = {path: _progress(path) for path in folder.glob('*.pth')}
    found = {path: when for path, when in found.items() if when is not None}
    return str(max(found, key=found.get)) if found else None


def _noted(folder: Path) -> list[Path]:
    """Where the noted checkpoint may be: the directory may have moved."""
    note = folder / NOTE
    text = note.read_text(errors='replace') if note.is_file() else ''
    path = Path(text.strip())
    return [folder / path.name, path] if path.name else []


def _progress(path: Path) -> tuple | None:
    """How far a run was that may go on from a file; None if none can.

    Weights that are the best so far have no state of an optimizer, so what
    goes on from them is another run; they are the last resort.
    """
    if not os.path.isfile(path):
        return None
    try:
        loaded = outline(path)
    except (ChexError, OSError) as error:
        print_log(
            f'{error} The run does not go on from it.',
            logger='current',
            level=logging.WARNING,
        )
        return None
    if not loaded.keys() >= RESUMED:
        return None  # such as the history of a run
    meta = loaded['meta']
    return (
        'optimizer' in loaded,
        str(meta.get('time', '')),
        meta.get('iter', 0),
        path.stat().st_mtime,
    )
