"""Custom kernels that the dispatcher cannot see.

A compiled kernel called inside an autograd function takes labelled tensors
and leaves no operator behind: its rule is that of the function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.utils._pytree import tree_flatten

from ..dispatch.call import Call
from ..dispatch.functions import wrapped_functions
from ..dispatch.seen import Seen
from .flow import Flow


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
