"""Autograd functions, wrapped for a while.

A compiled kernel called inside of one leaves no operator behind, so that
whoever watches operators has to be told of its function. This is the one place
where methods of other packages are replaced for a while; they are put back at
the end.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps

import torch


@contextmanager
def wrapped_functions(wrapper: Callable):
    """Calls `wrapper(function, forward, args, kwargs)` in place of forward.

    Every autograd function that is not torch's own is one `function`; its
    `forward` takes `*args, **kwargs`, the context first.
    """
    functions = [f for f in _subclasses(torch.autograd.Function) if _own(f)]
    originals = [(f, f.__dict__['forward']) for f in functions]
    try:
        for function, original in originals:
            function.forward = staticmethod(
                _wrapped(wrapper, function, original.__func__)
            )
        yield
    finally:
        for function, original in originals:
            function.forward = original


def _wrapped(wrapper: Callable, function, forward):
    @wraps(forward)
    def wrapped(*args, **kwargs):
        return wrapper(function, forward, args, kwargs)

    return wrapped


def _subclasses(cls):
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _own(function) -> bool:
    """Torch's own functions are written in operators it dispatches."""
    forward = function.__dict__.get('forward')
    return isinstance(forward, staticmethod) and not (
        function.__module__.startswith('torch.')
    )
