"""One run per work directory: the others are refused while it lives.

The system itself drops the lock of a process that ends, however it ends, so
nothing has to be removed after a crash.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

try:
    import fcntl
except ImportError:  # not on Windows, where runs are not kept apart
    fcntl = None

FILE = '.chex_run'


class RunLock:
    """Held by the first rank for all ranks of a run.

    Args:
        work_dir: Of the run.
    """

    def __init__(self, work_dir: str | Path):
        self.path = Path(work_dir, FILE)
        # Not a file object: a lock of this process is gone as soon as one of
        # its descriptors of that file is closed, also by a garbage collector.
        self._descriptor: int | None = None

    def take(self) -> None:
        """Makes the directory this run's; every rank must call it.

        Raises:
            ValueError: Another run lives in it.
        """
        other = [self._take() if is_main_process() else None]
        broadcast_object_list(other)
        if other[0] is not None:
            raise ValueError(
                f'Another run trains in {self.path.parent}: {other[0]}. Wait '
                'until it ends, or give this one a --work-dir of its own.'
            )

    def release(self) -> None:
        """Lets the next run in."""
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self) -> str | None:
        """Who has the lock, if it is another process."""
        if fcntl is None:
            return None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            owner = os.read(file, 1000).decode(errors='replace')
            os.close(file)
            return owner or 'it has just begun'
        except OSError as error:  # some network file systems have no locks
            os.close(file)
            print_log(
                f'{self.path} cannot be locked ({error.strerror}): see to it '
                'that no other run trains in this directory.',
                logger='current',
            )
            return None
        if not self._is_there(file):  # its last owner has just removed it
            os.close(file)
            return self._take()
        self._descriptor = file
        os.ftruncate(file, 0)
        os.write(file, _owner().encode())
        remove_unfinished(self.path.parent)
        return None

    def _is_there(self, file: int) -> bool:
        """Whether what is locked is still what others would lock."""
        try:
            return os.path.samestat(os.fstat(file), self.path.stat())
        except FileNotFoundError:
            return False


def remove_unfinished(work_dir: Path) -> None:
    """Removes what killed runs were writing; only for who has the lock."""
    for folder in work_dir.glob('.*.pth-*'):
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
            print_log(
                f'{folder} is what a run was writing when it was killed; it '
                'is removed.',
                logger='current',
            )


def _owner() -> str:
    began = time.strftime('%Y-%m-%d %H:%M:%S')
    return f'process {os.getpid()} on {socket.gethostname()}, since {began}'
