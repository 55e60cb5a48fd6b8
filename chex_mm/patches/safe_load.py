"""Lets `torch.load(weights_only=True)` read what mmengine's Runner saves.

mmengine 0.10.7 predates torch 2.6, which made `weights_only=True` the
default: without this no Runner could resume. Only plain data becomes
readable; a checkpoint still cannot name anything that runs code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pickle import UnpicklingError

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler


@dataclass(frozen=True)
class _Named:
    """What stands in for a class that a checkpoint may name, not build."""

    owner: type

    def __call__(self, *_):
        raise UnpicklingError(
            f'The checkpoint builds a {self.owner.__name__}; only its '
            'methods may be named.'
        )


# The methods that a checkpoint may name: of log histories what is shown, of
# OneCycleLR and OneCycleMomentum how they anneal.
METHODS = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    _Named(OneCycleParamScheduler): ('_annealing_cos', '_annealing_linear'),
}


def _allowed_method(owner: type | _Named, name: str):
    """What stands in for `getattr`, by which pickle names a method.

    The real `getattr` would let a checkpoint reach any attribute of any
    allowed type.
    """
    is_known = isinstance(owner, (type, _Named)) and owner in METHODS
    if not is_known or name not in METHODS[owner]:
        first, *others = (
            f'{", ".join(names)} of {_class_of(each).__name__}'
            for each, names in METHODS.items()
        )
        raise UnpicklingError(
            f'The checkpoint refers to {name!r} of {_class_of(owner)!r}; '
            f'only the methods {first} are allowed, and '
            f'{", ".join(others)}.'
        )
    return getattr(_class_of(owner), name)


def _class_of(owner: type | _Named) -> type:
    return owner.owner if isinstance(owner, _Named) else owner


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
            (_allowed_method, 'builtins.getattr'),
            (
                _Named(OneCycleParamScheduler),
                f'{OneCycleParamScheduler.__module__}.'
                f'{OneCycleParamScheduler.__qualname__}',
            ),
            # numpy 2 moved these; a file may come from either version.
            *(
                (function, f'{package}.multiarray.{name}')
                for name, function in multiarray.items()
                for package in ('numpy.core', 'numpy._core')
            ),
        ]
    )
