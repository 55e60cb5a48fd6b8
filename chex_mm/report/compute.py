"""What training cost, in multiply-adds of the sub-models it went through."""

from __future__ import annotations

from collections.abc import Mapping


def running_compute(history: Mapping) -> tuple[list[int], list[float]]:
    """Iterations, and the compute until then as a share of a dense run's.

    It is that of the sub-models, which compact execution really spends;
    masked execution spends what the dense model costs.
    """
    length, dense = history['length'], history['dense']['flops']
    entries = history['entries']
    at = [entry['iteration'] for entry in entries] + [length]
    spent = [at[0] / length]  # before the first entry nothing is known
    for entry, begin, end in zip(entries, at, at[1:]):
        share = entry['flops'] / dense
        spent.append(spent[-1] + share * (end - begin) / length)
    return at, spent
