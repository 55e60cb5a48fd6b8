"""Lets `torch.load(weights_only=True)` read what mmengine's Runner saves.

mmengine 0.10.7 predates torch 2.6, which made `weights_only=True` the
default: without this no Runner could resume. Only plain data becomes
readable; a checkpoint still cannot name anything that runs code.
"""

from pickle import UnpicklingError

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

STATISTICS = ('min', 'max', 'current', 'mean')


def _statistics_method(owner: type, name: str):
    """What stands in for `getattr`, by which pickle names a method.

    The real `getattr` would let a checkpoint reach any attribute of any
    allowed type; a `HistoryBuffer` needs four of its own methods.
    """
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise UnpicklingError(
            f'The checkpoint refers to {name!r} of {owner!r}; only the '
            f'methods {", ".join(STATISTICS)} of HistoryBuffer are allowed.'
        )
    return getattr(owner, name)


def _numeric_types() -> set[type]:
    """numpy's classes of numeric dtypes; the object dtype is left out."""
    codes = np.typecodes['AllInteger'] + np.typecodes['Float'] + '?'
    return {type(np.dtype(code)) for code in codes}


def allow_mmengine_types() -> None:
    """Allow-lists mmengine's log history, config dicts and numpy numbers.

    Before torch 2.6 the Runner loads everything anyway, so nothing is done.
    """
    if torch.__version__ < (2, 6):
        return
    multiarray = {
        'scalar': np.float64(0).__reduce__()[0],
        '_reconstruct': np.empty(0).__reduce__()[0],
    }
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            ConfigDict,
            np.ndarray,
            np.dtype,
            *_numeric_types(),
            (_statistics_method, 'builtins.getattr'),
            # numpy 2 moved these; a file may come from either version.
            *(
                (function, f'{package}.multiarray.{name}')
                for name, function in multiarray.items()
                for package in ('numpy.core', 'numpy._core')
            ),
        ]
    )
