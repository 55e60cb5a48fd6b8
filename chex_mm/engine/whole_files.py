"""Files that appear whole or not at all, and the last whole checkpoint.

A run may be killed while it writes; what is under a checkpoint's name is then
the file that was there before, or none.
"""

from __future__ import annotations

import logging
import os
import zipfile
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log

from .files import replacing

NOTE = 'last_checkpoint'  # where mmengine writes which one that is


class WholeFileBackend(LocalBackend):
    """mmengine's local files, written under another name first."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes bytes."""
        with replacing(Path(filepath)) as unfinished:
            with unfinished.open('wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())

    def put_text(
        self, obj: str, filepath: str | Path, encoding: str = 'utf-8'
    ) -> None:
        """Writes text."""
        self.put(obj.encode(encoding), filepath)


def write_whole_files() -> None:
    """Makes mmengine write local files, checkpoints above all, whole."""
    register_backend('local', WholeFileBackend, force=True, prefixes='')


def latest_checkpoint(work_dir: str) -> str | None:
    """The checkpoint to resume in a work directory.

    The one that mmengine noted, if it is there and complete (mmengine removes
    old ones before it writes the next), else the newest complete one.
    """
    folder = Path(work_dir)
    note = folder / NOTE
    noted = note.read_text().strip() if note.is_file() else ''
    written = sorted(
        folder.glob('*.pth'), key=lambda path: path.stat().st_mtime
    )
    for path in [*filter(None, [noted]), *map(str, reversed(written))]:
        if not Path(path).is_file():
            continue
        if zipfile.is_zipfile(path):  # its directory is written last
            return path
        print_log(
            f'{path} is not a complete checkpoint; trying an older one.',
            logger='current',
            level=logging.WARNING,
        )
    return None
