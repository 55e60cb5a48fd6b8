"""The random states of a process: taken, given back, kept.

What is taken is tensors and plain python only, so that it can travel in a
checkpoint that `torch.load(weights_only=True)` reads.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def random_state() -> dict:
    """The states of python's, numpy's and torch's generators.

    On CUDA that of the current device: one process trains on one device.
    """
    version, internal, gauss = random.getstate()
    name, keys, *rest = np.random.get_state()
    return dict(
        python=(version, torch.tensor(internal), gauss),
        numpy=(name, torch.from_numpy(keys.astype(np.int64)), *rest),
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state()
        if torch.cuda.is_initialized()
        else None,
    )


def set_random_state(state: dict) -> None:
    """Gives back what `random_state` took."""
    version, internal, gauss = state['python']
    random.setstate((version, tuple(internal.tolist()), gauss))
    name, keys, *rest = state['numpy']
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Whatever is drawn inside, the generators end as they began."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)


@contextmanager
def fixed_random_state() -> Iterator[None]:
    """Draws inside are the same every time and leave no trace."""
    with kept_random_state():
        random.seed(0)
        np.random.seed(0)
        torch.default_generator.manual_seed(0)
        yield
