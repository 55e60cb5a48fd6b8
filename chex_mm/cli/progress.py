"""How far a tool is: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

Told = Callable[[str], None]  # is told what begins


def silent(text: str) -> None:
    """Tells nobody."""


class Stages:
    """Counts named stages of work on standard error.

    As a context manager; `next` says what begins.

    Args:
        total: Stages.
        stream: Where to write instead.
    """

    def __init__(self, total: int, stream: TextIO | None = None):
        self.total = total
        self.begun = 0
        self.stream = sys.stderr if stream is None else stream
        self._bar: Progress | None = None
        self._task = None

    def __enter__(self):
        if self.stream.isatty():
            self._bar = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn('{task.description}'),
                console=Console(file=self.stream),
                transient=True,
            )
            self._task = self._bar.add_task('', total=self.total)
            self._bar.start()
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.stop()

    def next(self, text: str) -> None:
        """Ends the stage before and begins the one that `text` names."""
        self.begun += 1
        if self._bar is None:
            line = f'[{self.begun}/{self.total}] {text}\n'
            self.stream.write(line)
            self.stream.flush()
            return
        self._bar.update(
            self._task, completed=self.begun - 1, description=text
        )
