"""The numbers that a report tells, computed from the record of a run."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor

from ..version import __version__
from .record import RunRecord

# What can become of a channel, from the best to the worst.
FATES = (
    'always active',
    'came back and stayed',
    'came back and left again',
    'left for good',
    'never active',
)
PACKAGES = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'mmdet3d')
SHOWN = 6  # metrics

Row = tuple[str, ...]


def fates(history: Sequence[Mapping[str, Tensor]]) -> dict[str, list[int]]:
    """Channels of each fate in `FATES`, by group.

    A channel comes back when it is active after a step that found it
    inactive, also if it was never active before.

    Args:
        history: Masks by group, in the order of the steps.
    """
    return {
        name: _fates(torch.stack([masks[name] for masks in history]))
        for name in history[0]
    }


def _fates(active: Tensor) -> list[int]:
    """Counts in the order of `FATES`; `active` is (steps, channels)."""
    last, ever = active[-1], active.any(0)
    came_back = (active[1:] & ~active[:-1]).any(0)
    found = (
        active.all(0),
        last & came_back,
        ~last & came_back,
        ~last & ever & ~came_back,
        ~ever,
    )
    return [int(each.sum()) for each in found]


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


def main_metrics(record: RunRecord) -> list[str]:
    """The few metrics that a page shows.

    A name that goes on where another one ends is a detail of it, as
    `coco/bbox_mAP_50` is of `coco/bbox_mAP`.
    """
    names = list(record.metrics)
    main = [
        name
        for name in names
        if not any(name.startswith(f'{other}_') for other in names)
    ]
    return sorted(main, key=len)[:SHOWN]


def headline(record: RunRecord) -> Iterator[Row]:
    """The numbers that a reader wants first, each with what it is."""
    history = record.history
    last, dense = history['entries'][-1], history['dense']
    for key, name, unit, letter in (
        ('flops', 'FLOPs', 1e9, 'G'),
        ('params', 'parameters', 1e6, 'M'),
    ):
        yield (
            f'{last[key] / dense[key]:.1%}',
            f'{name}: {last[key] / unit:.3g} of {dense[key] / unit:.3g} '
            f'{letter}',
        )
    active = sum(int(mask.sum()) for mask in record.keep[-1].values())
    total = sum(history['groups'].values())
    yield f'{active / total:.1%}', f'channels: {active} of {total}'
    spent = running_compute(history)[1][-1]
    yield f'{spent:.1%}', 'of the compute of dense training (sub-models)'
    for name in main_metrics(record)[:1]:
        value = record.metrics[name][1][-1]
        yield f'{value:.3f}', f'{name}, last validation'
    if record.slim:
        yield (
            f'{record.slim["max_abs_diff"]:.0e}',
            'largest difference of masked and slim outputs',
        )


def fate_rows(record: RunRecord) -> list[Row]:
    """Each fate with the channels that had it, and their share."""
    total = [sum(column) for column in zip(*fates(record.keep).values())]
    share = [f'{100 * n / sum(total):.1f} %' for n in total]
    return list(zip(FATES, map(str, total), share))


def cost_rows(record: RunRecord) -> list[Row]:
    """GFLOPs and M parameters of each part, dense and now."""
    dense, now = record.history['dense'], record.history['entries'][-1]
    rows = [
        (name, *_dense_and_now(cost, now['parts'][name]))
        for name, cost in dense['parts'].items()
        if cost['flops']
    ]
    return [*rows, ('all, with norms', *_dense_and_now(dense, now))]


def _dense_and_now(dense: Mapping, now: Mapping) -> Row:
    return tuple(
        f'{cost[key] / unit:.4g}'
        for key, unit in (('flops', 1e9), ('params', 1e6))
        for cost in (dense, now)
    )


def metric_rows(record: RunRecord) -> list[Row]:
    """Each main metric with its last and highest value, and when last."""
    found = ((name, record.metrics[name]) for name in main_metrics(record))
    return [
        (name, f'{values[-1]:.4g}', f'{max(values):.4g}', f'{at[-1]}')
        for name, (at, values) in found
    ]


def exported_table(exported: Mapping) -> tuple[Row, list[Row]]:
    """Batch sizes, and the milliseconds of each exported model."""
    found = exported.get('latency_ms', {})
    rows = [
        (name, *(f'{times[name]:.1f}' for times in found.values()))
        for name in sorted(next(iter(found.values()), ()))
    ]
    return ('', *(f'batch {size}, ms' for size in found)), rows


def latency_rows(times: Mapping[int, Mapping[str, float]]) -> list[Row]:
    """Milliseconds of both models by batch size, and how much faster."""
    return [
        (
            f'{size}',
            f'{found["dense"]:.1f}',
            f'{found["slim"]:.1f}',
            f'{found["dense"] / found["slim"]:.2f} x',
        )
        for size, found in times.items()
    ]


def versions() -> Iterator[Row]:
    """The packages that made the page."""
    yield 'chex_mm', __version__
    yield 'python', platform.python_version()
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
