"""Loops over points as machine code, on as many threads as torch uses.

Threads are plain Python threads around code that holds no lock. numba's own
parallel loops are not used: their OpenMP pool does not survive a fork, and
data loaders fork after the model has run.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import njit
from torch import Tensor

# Without NaN, a maximum may be taken in any order; sums keep theirs.
FINITE = {'nnan', 'nsz'}


def compiled(function, **options):
    """Machine code for a loop, made at its first call and kept on disk.

    Where no folder can be written, every process compiles again.
    """
    try:
        return njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # numba: no locator available
        return njit(nogil=True, **options)(function)


def compiled_for_finite(function):
    """The same for a loop that no NaN enters, which vectorises maxima."""
    return compiled(function, fastmath=FINITE)


def in_parts(work, count: int) -> None:
    """Calls `work(first, last)` for consecutive parts of `range(count)`."""
    threads = max(1, min(torch.get_num_threads(), count))
    if threads == 1:
        work(0, count)
        return
    bounds = np.linspace(0, count, threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))


def each_channel(loop, source, out, *of_cloud) -> None:
    """Calls `loop(source[b, c], out[b, c], *rows)` for all clouds b.

    `rows` are row b of each of the arrays `of_cloud`.
    """
    channels = source.shape[1]

    def part(first, last):
        for row in range(first, last):
            b, c = divmod(row, channels)
            loop(source[b, c], out[b, c], *(array[b] for array in of_cloud))

    in_parts(part, len(source) * channels)


def numbers(tensor: Tensor) -> np.ndarray:
    """A contiguous array of the tensor; short floats become float32."""
    tensor = tensor.detach()
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()
    return tensor.contiguous().numpy()
