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
from contextlib import contextmanager
from functools import partial, wraps

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from chex_mm.channels.call import Call
from chex_mm.channels.flow import Flow
from chex_mm.channels.seen import Seen


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
    followed as usual; where free channels enter and a kernel that torch does
    not dispatch has written what is read or returned, or no channels come
    out, what entered is pinned and the function is reported as unknown.
    """
    return wrapped_functions(partial(_watch, flow, []))


def _watch(flow: Flow, around: list[Seen], function, forward, args, kwargs):
    """Runs `forward` inside of the functions that `around` watches."""
    call = _call(flow, function, forward, args, kwargs)
    entered = any(map(flow.has_channels, call.inputs))
    if entered and flow.rule_of(call) is not None:
        with flow.paused():
            out = forward(*args, **kwargs)
            flow.flow(call, out)
    elif entered:
        out = _followed(flow, around, call, lambda: forward(*args, **kwargs))
    else:
        out = forward(*args, **kwargs)
    for outer in around:
        outer.note((*call.inputs, *_tensors(out)))
    return out


def _call(flow: Flow, function, forward, args, kwargs) -> Call:
    bound = inspect.signature(forward).bind(*args, **kwargs)
    bound.apply_defaults()
    name = f'{function.__module__}.{function.__name__}'
    inputs = _tensors((args, kwargs))
    arguments = dict(bound.arguments)
    return Call(name, function, arguments, inputs, None, flow.module)


def _followed(flow: Flow, around: list[Seen], call: Call, run: Callable):
    """Runs a function without a rule; reports what no operator tells."""
    seen = Seen(flow, call.inputs)
    around.append(seen)
    try:
        with seen:
            out = run()
    finally:
        around.pop()
    outs = _tensors(out)
    seen.check((*call.inputs, *outs))
    is_lost = not seen.is_all or not any(map(flow.has_channels, outs))
    if is_lost and any(map(flow.is_free, call.inputs)):
        with flow.paused():
            flow.flow(call, out)
    return out


def _tensors(value) -> tuple[Tensor, ...]:
    return tuple(t for t in tree_flatten(value)[0] if isinstance(t, Tensor))
