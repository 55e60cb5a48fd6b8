"""Functions of others choose by device, wherever they were imported."""

import inspect
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch.autograd import Function

if not (find_spec('mmcv') and find_spec('mmcv._ext') and find_spec('numba')):
    pytest.skip('needs mmcv with operators and numba', allow_module_level=True)

import mmcv
from mmengine.logging import MMLogger

import chex_mm.engine  # noqa: F401
from chex_mm.points import KERNELS, cpu_kernel, install
from chex_mm.points.install import _report_once

from . import (  # noqa: F401
    test_definitions,
    test_gradients,
    test_polygons,
    test_sparse_convolution,
)
from .covered import COVERED

if find_spec('mmdet3d'):
    from . import test_mapped_scatter  # noqa: F401

if find_spec('spconv'):
    from . import test_spconv_convolution  # noqa: F401

# mmdet3d has a copy of one of mmcv's functions, and calls that.
OF_MMCV = str(Path(mmcv.__file__).parent)
OF_OTHERS = tuple(f'{os.sep}{name}{os.sep}' for name in ('mmdet3d', 'spconv'))


def installed(target, part):
    """What runs now in place of a function of mmcv."""
    if part is None:
        return target.__kwdefaults__['_chosen']
    return getattr(target, part)


@pytest.mark.parametrize(
    'key', KERNELS, ids=lambda k: f'{k[0].__name__}.{k[1]}'
)
def test_the_original_is_kept_behind_every_kernel(key):
    chosen = installed(*key)
    original = chosen.__wrapped__
    assert chosen.cpu_kernel is KERNELS[key]
    file = original.__code__.co_filename
    assert file.startswith(OF_MMCV) or any(o in file for o in OF_OTHERS)
    install()  # again
    assert installed(*key) is chosen
    takes = inspect.signature(key[0] if key[1] is None else chosen)
    assert takes == inspect.signature(original)


def test_every_kernel_has_a_test():
    assert COVERED == set(KERNELS)


class Doubled(Function):
    """Stands for an operator of mmcv; this forward is 'the CUDA kernel'."""

    @staticmethod
    def forward(ctx, x, power=1):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2, None


def moved(x, by=1):
    """Stands for a plain function of mmcv."""
    return x + by


def test_the_device_decides():
    kernels = {
        (Doubled, 'forward'): lambda ctx, x, power=1: x * 30,
        (Doubled, 'backward'): lambda ctx, grad: (grad * 30, None),
        (moved, None): lambda x, by=1: x - by,
    }
    apply, function = Doubled.apply, moved  # bound before, as mmdet3d does
    install(kernels)
    x = torch.ones(2, requires_grad=True)
    apply(x).sum().backward()
    assert x.grad.tolist() == [30, 30]
    assert function(torch.ones(1), by=3) == -2


def test_other_devices_never_reach_a_cpu_kernel():
    def never(*args):
        raise AssertionError('a CPU kernel ran')

    class Kept(Function):
        forward = Doubled.__dict__['forward']
        backward = Doubled.__dict__['backward']

    def kept(x):
        return x + 1

    install({(Kept, 'forward'): never, (Kept, 'backward'): never})
    install({(kept, None): never})
    x = torch.ones(2, device='meta', requires_grad=True)
    kept(Kept.apply(x)).sum().backward()
    assert x.grad.shape == (2,)
    with pytest.raises(AssertionError, match='a CPU kernel ran'):
        kept(torch.ones(2))


def test_two_kernels_for_one_function():
    target = next(iter(KERNELS))
    with pytest.raises(ValueError, match='has the CPU kernel .* already'):
        cpu_kernel(*target)(lambda *args: None)


def test_a_plain_function_keeps_its_defaults_by_keyword():
    def shifted(x, *, by=1):
        return x + by

    install({(shifted, None): lambda x, by=5: x - by})
    assert shifted(torch.ones(1)) == -4
    assert shifted(torch.ones(1), by=3) == -2
    assert shifted(torch.ones(2, device='meta')).shape == (2,)


def test_a_function_around_another_is_refused():
    by = 2

    def around(x):
        return x + by

    with pytest.raises(ValueError, match='around has a closure, so that it'):
        install({(around, None): lambda x: x})
    assert around(1) == 3


def test_the_log_names_the_operators_once(monkeypatch):
    lines = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'log', lambda level, text: lines.append(text))
    _report_once.cache_clear()
    from mmcv.ops import furthest_point_sample

    for _ in range(2):
        furthest_point_sample(torch.rand(1, 4, 3), 2)
    assert len(lines) == 1 and 'FurthestPointSampling' in lines[0]
