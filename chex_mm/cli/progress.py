"""How far a tool is: a bar on a terminal, plain lines anywhere else.

Whoever works names its stages with `stage`; they are seen inside of `stages`
and nowhere else, so a library function needs no argument for them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from itertools import count
from typing import TextIO

_show: ContextVar[Callable[[str], None]] = ContextVar(
    'show', default=lambda text: None
)


def stage(text: str) -> None:
    """Ends the stage before and begins the one that `text` names."""
    _show.get()(text)


@contextmanager
def stages(total: int, stream: TextIO | None = None) -> Iterator[None]:
    """Shows the stages that begin inside, `total` of them.

    Args:
        total: Stages.
        stream: Where to write instead of standard error.
    """
    stream = sys.stderr if stream is None else stream
    shown = _bar if stream.isatty() else _lines
    with shown(total, stream) as show:
        token = _show.set(show)
        try:
            yield
        finally:
            _show.reset(token)


def _lines(total: int, stream: TextIO):
    numbers = count(1)

    def show(text: str) -> None:
        stream.write(f'[{next(numbers)}/{total}] {text}\n')
        stream.flush()

    return nullcontext(show)


@contextmanager
def _bar(total: int, stream: TextIO) -> Iterator[Callable[[str], None]]:
    """Shows a bar that goes away in the end."""
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn('{task.description}'),
        console=Console(file=stream),
        transient=True,
    )
    done, task = count(), bar.add_task('', total=total)
    with bar:
        yield lambda text: bar.update(
            task, completed=next(done), description=text, refresh=True
        )
