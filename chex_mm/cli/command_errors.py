"""What goes wrong in a command of `tools/`, told in one line.

A mistake in what was typed, or in the config that it names, ends the process
with status 2; a fault of this package or of another shows where it is.
"""

from __future__ import annotations

import errno
import gc
import sys
import warnings
from collections.abc import Callable
from pickle import UnpicklingError
from traceback import walk_tb
from urllib.error import URLError

import torch

from ..errors import ChexError, one_line

# What libraries say to their own developers, at every start of a tool.
OF_OTHERS = ('pkg_resources is deprecated', 'torch.meshgrid: in an upcoming')

# What of mmengine builds a part of a config, which it calls `cfg`, and the
# type of that part if the config leaves it out.
BUILDERS = {
    'build_from_cfg': None,
    'build_scheduler_from_cfg': None,
    'build_optim_wrapper': 'OptimWrapper',
}

# What writing to a disk that has no room ends in, whatever the file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CommandError(ValueError):
    """A wrong argument on the command line."""


def run_command(main: Callable[[], None]) -> None:
    """Runs `main`; what is wrong goes to stderr in one line, status 2.

    With `--debug` it goes there as Python puts it. So does what is a fault
    of this package or of another, not of who typed the command.
    """
    try:
        with warnings.catch_warnings():
            for text in OF_OTHERS:
                warnings.filterwarnings('ignore', text)
            main()
        if torch.distributed.is_initialized():
            # Else its threads may still run when the interpreter ends, which
            # aborts the process now and then. The runner, which holds the
            # group through its wrapped model, is part of cycles.
            gc.collect()
            torch.distributed.destroy_process_group()
    except Exception as error:
        said = _said_of(error)
        if said is None or '--debug' in sys.argv:
            raise
        sys.stderr.write(f'error: {said}\n')
        raise SystemExit(2) from None


def _said_of(error: Exception) -> str | None:
    """What to tell the person who typed the command, if it concerns them."""
    if isinstance(error, (CommandError, ChexError)):
        return str(error)
    if isinstance(error, ValueError) and _is_ours(error):
        return str(error)
    if isinstance(error, OSError):
        return _of_a_file(error)
    if isinstance(error, (UnpicklingError, EOFError)):
        return (
            f'a pickled file cannot be read: {one_line(error)} If it is a '
            'checkpoint, name a whole one; if it describes a data set, see '
            'ann_file in the config, and write it anew.'
        )
    built = _built(error)
    if built is not None:
        return (
            f'{built} of the config cannot be built: {type(error).__name__}: '
            f'{one_line(error)} (--debug shows where)'
        )
    return None


def _of_a_file(error: OSError) -> str | None:
    if isinstance(error, FileNotFoundError):
        return (
            f'there is no file {error.filename or error}. If it is '
            'part of a data set, see data_root, ann_file and data_prefix of '
            'the config; the head of its data set file says where it comes '
            'from.'
        )
    if isinstance(error, URLError):
        return (
            f'an address cannot be read: {error.reason}. Download the file '
            'elsewhere and name it.'
        )
    if error.filename is not None:
        return f'{error.filename}: {error.strerror}.'
    if error.errno in FULL:
        return f'a file cannot be written: {error.strerror}.'
    return None


def _is_ours(error: Exception) -> bool:
    """Whether code of this package raised it."""
    *_, (last, _) = walk_tb(error.__traceback__)
    name = last.f_globals.get('__name__', '')
    return name.partition('.')[0] == 'chex_mm'


def _built(error: Exception) -> str | None:
    """The type that a registry was building when an error was raised."""
    kind = None
    for frame, _ in walk_tb(error.__traceback__):
        name, cfg = frame.f_code.co_name, frame.f_locals.get('cfg')
        if name in BUILDERS and isinstance(cfg, dict):
            kind = cfg.get('type', BUILDERS[name])
    return kind if isinstance(kind, str) else None
