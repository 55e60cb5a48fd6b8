"""Kernels for the CPU, behind the functions of mmcv and of spconv.

What runs is another for tensors on the CPU only: a call with any other tensor
runs the code as it was.
"""

from __future__ import annotations

from functools import cache, wraps
from types import FunctionType

from mmengine.logging import print_log
from torch import Tensor
from torch.autograd import Function

from ..registry import Table

# (autograd function, 'forward' or 'backward') or (plain function, None)
KERNELS = Table('CPU kernel')


def cpu_kernel(target, part: str = 'forward'):
    """Declares the decorated function as what `target` does on the CPU.

    Args:
        target: An autograd function of the package, or a plain one.
        part: Of an autograd function, `'forward'` or `'backward'`; the kernel
            takes the same arguments, the context first.
    """
    is_autograd = isinstance(target, type) and issubclass(target, Function)
    key = (target, part if is_autograd else None)

    return KERNELS.register(key)


def install(kernels=KERNELS) -> None:
    """Puts every kernel of the table behind its function, once."""
    for (target, part), kernel in kernels.items():
        if part is None:
            _redirect(target, kernel)
            continue
        original = getattr(target, part)
        if not hasattr(original, 'cpu_kernel'):
            chosen = _by_device(original, kernel)
            setattr(target, part, staticmethod(chosen))


def is_on_cpu(values) -> bool:
    """Whether all tensors among some arguments are on the CPU."""
    return all(v.device.type == 'cpu' for v in values if isinstance(v, Tensor))


def _by_device(original, kernel):
    """A function that is `kernel` on the CPU and `original` elsewhere."""

    @wraps(original)
    def chosen(*args, **kwargs):
        if not is_on_cpu((*args, *kwargs.values())):
            return original(*args, **kwargs)
        _report_once()
        return kernel(*args, **kwargs)

    chosen.cpu_kernel = kernel
    return chosen


def _redirect(function: FunctionType, kernel) -> None:
    """Makes a plain function choose, wherever it was imported to.

    `from mmcv.ops import nms3d` binds the object in many modules, so the
    object stays and its code changes; a copy keeps the code as it was.
    """
    if function.__code__ is _choose.__code__:
        return
    if function.__closure__:
        raise ValueError(
            f'{function.__module__}.{function.__qualname__} has a closure, so '
            'that it cannot take other code; declare a kernel for the '
            'function that it wraps.'
        )
    original = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
    )
    original.__kwdefaults__ = function.__kwdefaults__
    function.__wrapped__ = original  # keeps the signature
    function.__defaults__ = None
    function.__kwdefaults__ = {'_chosen': _by_device(original, kernel)}
    function.__code__ = _choose.__code__


def _choose(*args, _chosen=None, **kwargs):
    return _chosen(*args, **kwargs)


@cache
def _report_once() -> None:
    names = sorted({target.__name__ for target, _ in KERNELS})
    print_log(
        'Point operators that mmcv has for CUDA only, or that are not exact '
        f"with several threads, are chex_mm's on the CPU: {', '.join(names)}",
        logger='current',
    )
