"""Custom kernels that the dispatcher cannot see.

A compiled kernel called inside an autograd function takes labelled tensors
and leaves no operator behind. In a block of `wrapped_functions` the `forward`
of every subclass of `torch.autograd.Function` is wrapped: this is the one
place where chex_mm replaces methods of other packages for a while, and they
are put back at the end.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from functools import partial, wraps

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from chex_mm.channels.call import Call
from chex_mm.channels.flow import Flow


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


def watched_functions(flow: Flow):
    """Applies rules to autograd functions called in the block.

    A function with a rule is one operator. Without a rule its operators are
    followed as usual; where channels enter and none come out, a kernel must
    have computed the result, so what entered is pinned and the function is
    reported as unknown.
    """
    return wrapped_functions(partial(_watch, flow))


def _watch(flow: Flow, function, forward, args, kwargs):
    bound = inspect.signature(forward).bind(*args, **kwargs)
    bound.apply_defaults()
    inputs = tuple(
        a for a in tree_flatten((args, kwargs))[0] if isinstance(a, Tensor)
    )
    entered = [t for t in inputs if flow.has_channels(t)]
    call = Call(
        f'{function.__module__}.{function.__name__}',
        function,
        dict(bound.arguments),
        inputs,
        None,
        flow.module,
    )
    is_known = bool(entered) and flow.rule_of(call) is not None
    with flow.paused() if is_known else nullcontext():
        out = forward(*args, **kwargs)
    outs = [t for t in tree_flatten(out)[0] if isinstance(t, Tensor)]
    if entered and not any(flow.has_channels(t) for t in outs):
        with flow.paused():
            flow.flow(call, out)
    return out
