"""Judges many architectures, each in a process of its own.

Processes are forked from one that has imported everything already: a model
that crashes or hangs costs its own verdict and nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import IO

from pebble import ProcessExpired, concurrent

from chex_mm.errors import one_line

from .verdict import Verdict

Judge = Callable[[str], Verdict]


def walk(
    names: Sequence[str], judge: Judge, limit: float, jobs: int = 1
) -> Iterator[Verdict]:
    """Verdicts in the order in which they are found.

    Args:
        names: Of architectures.
        judge: Called with a name in another process.
        limit: Seconds for each.
        jobs: So many at a time.
    """
    fork = multiprocessing.get_context('fork')
    start = concurrent.process(timeout=limit, mp_context=fork)(_quietly)
    waiting, running = list(names)[::-1], {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name, log = waiting.pop(), tempfile.TemporaryFile()
                begin = time.monotonic()
                running[start(log, judge, name)] = name, log, begin
            done = futures.wait(running, None, futures.FIRST_COMPLETED).done
            for found in done:
                yield _verdict(found, limit, *running.pop(found))
    finally:
        for unfinished in running:
            unfinished.cancel()


def _quietly(log: IO, judge: Judge, name: str) -> Verdict:
    """Judges in the new process; what libraries print goes to `log`."""
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    # Those of the parent may be locked, by a thread that is not here.
    sys.stdout = sys.stderr = os.fdopen(os.dup(1), 'w', 1)
    return judge(name)


def _verdict(
    found: futures.Future, limit: float, name: str, log: IO, begin: float
) -> Verdict:
    """The verdict of a process that has ended, or why it gave none."""
    error = found.exception()
    if error is None:
        return found.result()
    seconds = round(time.monotonic() - begin, 1)
    return Verdict(name, 'fails', _reason(error, log, limit), seconds=seconds)


def _reason(error: BaseException, log: IO, limit: float) -> str:
    if isinstance(error, futures.TimeoutError):
        return f'took more than {limit:g} seconds'
    if not isinstance(error, ProcessExpired):
        return f'{type(error).__name__}: {one_line(error)}'
    log.seek(0)
    lines = log.read().decode(errors='replace').strip().splitlines()
    last = lines[-1][:200] if lines else 'no output'
    return f'exit status {error.exitcode}: {last}'
