"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ChexError


def check_file(path: Path, overwrite: bool = False) -> None:
    """Refuses a file that cannot, or must not, be written.

    Raises:
        ChexError: Says why.
    """
    if path.is_dir():
        raise ChexError(f'{path} is a directory; name a file in it.')
    if path.exists() and not overwrite:
        raise ChexError(f'{path} exists; pass --overwrite to replace it.')
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise ChexError(
            f'{path} cannot be written: {parent} is not a writable directory.'
        )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` if nothing goes wrong.

    It lies in a folder of its own beside `path`, where files that belong to
    it (external weights) may be written too; those are moved first.
    """
    path = path.resolve()  # a link stays one, what it points to is replaced
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f'.{path.name}-', dir=path.parent
    ) as folder:
        unfinished = Path(folder, path.name)
        try:
            yield unfinished
            beside = [p for p in Path(folder).iterdir() if p != unfinished]
            for each in (*beside, unfinished):
                _store(each)
                each.replace(path.parent / each.name)
        except OSError as error:  # such as a full disk
            if error.filename is None:
                error.filename = str(path)
            raise


def _store(path: Path) -> None:
    """Makes sure that what was written is on the disk, not on its way."""
    if path.is_file():
        with path.open('rb') as file:
            os.fsync(file.fileno())
