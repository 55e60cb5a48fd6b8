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
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import IO

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
    waiting, running = list(names)[::-1], []
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(_start(waiting.pop(), judge, limit))
        soonest = min(each.deadline for each in running) - time.monotonic()
        wait([each.pipe for each in running], max(0, soonest))
        for each in list(running):
            if each.pipe.poll() or time.monotonic() >= each.deadline:
                running.remove(each)
                yield each.finish(limit)


@dataclass(eq=False)
class _Running:
    name: str
    process: BaseProcess
    pipe: Connection
    log: IO
    begin: float
    deadline: float

    def finish(self, limit: float) -> Verdict:
        """The verdict of the process, or why it gave none."""
        verdict = None
        if self.pipe.poll():
            try:
                verdict = self.pipe.recv()
            except EOFError:
                pass  # it ended without a word
        else:
            self.process.kill()
        self.process.join()
        return verdict or Verdict(
            self.name,
            'fails',
            self._last_words(limit),
            seconds=round(time.monotonic() - self.begin, 1),
        )

    def _last_words(self, limit: float) -> str:
        if time.monotonic() >= self.deadline:
            return f'took more than {limit:g} seconds'
        self.log.seek(0)
        lines = self.log.read().decode(errors='replace').strip().splitlines()
        last = lines[-1][:200] if lines else 'no output'
        return f'exit status {self.process.exitcode}: {last}'


def _start(name: str, judge: Judge, limit: float) -> _Running:
    context = multiprocessing.get_context('fork')
    ours, theirs = context.Pipe(duplex=False)
    log = tempfile.TemporaryFile()
    process = context.Process(target=_report, args=(theirs, log, judge, name))
    process.start()
    theirs.close()
    now = time.monotonic()
    return _Running(name, process, ours, log, now, now + limit)


def _report(pipe: Connection, log: IO, judge: Judge, name: str) -> None:
    """In the new process: what libraries print goes to `log`."""
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    # A progress bar's stand-ins may be locked, by a thread that is not here.
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    pipe.send(judge(name))
