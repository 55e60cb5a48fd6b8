"""What a report shows, section by section.

What cannot be shown is said, with what would show it.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from matplotlib.figure import Figure

import chex_mm

from . import figures
from .compute import running_compute
from .flows import FATES, fates
from .page import Section, Table
from .record import RunRecord

PACKAGES = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'mmdet3d')
SAMPLES = 3
SHOWN = 6  # metrics


@dataclass(frozen=True)
class Request:
    """What a report is about, beside the run itself.

    Attributes:
        slim: What tools/slim.py wrote; default: `slim` in the run's
            directory.
        dense: A checkpoint of the same model trained without exploration,
            to be compared with the slim one.
        samples: Test samples to draw; 0 runs no model at all.
    """

    slim: Path | None = None
    dense: Path | None = None
    samples: int = SAMPLES


@dataclass(frozen=True)
class Artist:
    """Draws into the folder of the report."""

    record: RunRecord
    folder: Path

    def save(self, figure: Figure | None, name: str) -> tuple[Path, ...]:
        """The file of a figure; none without a figure."""
        if figure is None:
            return ()
        path = self.folder / f'{name}.png'
        figure.savefig(path, dpi=200)
        return (path,)


def explored(artist: Artist) -> Iterator[Section]:
    """What became of the channels."""
    record = artist.record
    yield Section(
        'Active channels',
        'Each row is a channel group with its dense size, each column an '
        'exploration step; the first is the initial sub-model.',
        artist.save(figures.active_channels(record), 'active_channels'),
        is_wide=True,
    )
    yield Section(
        'Cost and budget',
        'What the sub-model costs after each step, and the share of each '
        'group that regrows (δ), which ends at 0: from then on the '
        'structure is fixed.',
        artist.save(figures.budget_over_time(record), 'budget'),
    )
    if len(record.keep) > 1:
        yield Section(
            'Who came, who left',
            'Channels that each step brought back and took away.',
            artist.save(figures.added_and_removed(record), 'changes'),
        )
        yield _fates_section(artist)
    scales = artist.save(figures.scale_distributions(record), 'scales')
    yield Section(
        'Norm scales',
        'The scales |γ| that rank the channels, of those that are active.'
        if scales
        else 'The scales at the end of the run are read from its last '
        'checkpoint, which is not in the directory, and those before from '
        'the first exploration step.',
        scales,
    )


def _fates_section(artist: Artist) -> Section:
    found = fates(artist.record.keep)
    total = [sum(column) for column in zip(*found.values())]
    share = [f'{100 * n / sum(total):.1f} %' for n in total]
    return Section(
        'What became of the channels',
        'From the first to the last step, by group.',
        artist.save(figures.channel_fates(artist.record), 'fates'),
        Table(
            ('channels', 'number', 'share'),
            list(zip(FATES, map(str, total), share)),
        ),
        is_wide=True,
    )


def trained(artist: Artist) -> Iterator[Section]:
    """What training cost and how it went."""
    record = artist.record
    yield Section(
        'Cost by part',
        'Multiply-adds of one sample, and parameters.',
        artist.save(figures.cost_by_part(record), 'cost'),
        _cost_table(record),
    )
    spent = running_compute(record.history)[1][-1]
    yield Section(
        'Training compute',
        f'The sub-models of this run took {spent:.1%} of the multiply-adds '
        'of dense training. '
        + (
            'Masked execution computes with full-size tensors, so the run '
            'itself spent what dense training spends; '
            "execution='compact' spends the share."
            if record.history['execution'] == 'masked'
            else 'Compact execution spends just that.'
        ),
        artist.save(figures.training_compute(record), 'compute'),
    )
    yield _metrics_section(artist)
    loss = {'loss': record.losses['loss']} if record.losses else {}
    yield Section(
        'Loss',
        'Of training.' if loss else 'No line of the log tells the loss.',
        artist.save(figures.curves(loss, 'iteration'), 'loss'),
    )


def _metrics_section(artist: Artist) -> Section:
    record = artist.record
    if not record.metrics:
        return Section(
            'Metrics',
            'The run has not validated, or its visualizer has no '
            "LocalVisBackend: vis_backends=[dict(type='LocalVisBackend')].",
        )
    main = {name: record.metrics[name] for name in main_metrics(record)}
    by = 'epoch' if record.by_epoch else 'iteration'
    rows = [
        (name, f'{values[-1]:.4g}', f'{max(values):.4g}', f'{at[-1]}')
        for name, (at, values) in main.items()
    ]
    return Section(
        'Metrics',
        'Of the validation loop.',
        artist.save(figures.curves(main, by), 'metrics'),
        Table(('metric', 'last', 'highest', f'last {by}'), rows),
    )


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


def _cost_table(record: RunRecord) -> Table:
    dense = record.history['dense']
    slim = record.history['entries'][-1]
    rows = [
        (name, *_pair(cost, slim['parts'][name]))
        for name, cost in dense['parts'].items()
        if cost['flops']
    ]
    return Table(
        ('', 'GFLOPs, dense', 'sub-model', 'M params, dense', 'sub-model'),
        [*rows, ('all, with norms', *_pair(dense, slim))],
    )


def _pair(dense, slim) -> tuple[str, ...]:
    return tuple(
        f'{cost[key] / unit:.4g}'
        for key, unit in (('flops', 1e9), ('params', 1e6))
        for cost in (dense, slim)
    )


def made_with(record: RunRecord) -> Iterator[Section]:
    """What can be read here, and where."""
    rows = [('chex_mm', chex_mm.__version__)]
    rows.append(('python', platform.python_version()))
    for name in PACKAGES:
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            continue
    yield Section(
        'Versions',
        'Where this page was made.',
        table=Table(('package', 'version'), rows),
    )
    yield Section(
        'Config',
        'As the run wrote it.'
        if record.config
        else 'The run has not written its config.',
        code=record.config,
    )
