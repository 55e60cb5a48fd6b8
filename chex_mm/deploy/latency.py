"""How long models take, measured so that they can be compared.

Models take turns, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import nn


@torch.no_grad()
def latency(
    models: Mapping[str, nn.Module],
    run: Callable[[nn.Module], object],
    repeats: int = 20,
    warmup: int = 3,
) -> dict[str, float]:
    """Median milliseconds of `run(model)`, the models in turn.

    Args:
        models: By name; each is put into eval mode.
        run: One inference pass.
        repeats: Counted passes of each model.
        warmup: Passes before, not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(warmup + repeats):
        for name, model in models.items():
            model.eval()
            start = time.perf_counter()
            run(model)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {n: 1000 * statistics.median(s) for n, s in seconds.items()}
