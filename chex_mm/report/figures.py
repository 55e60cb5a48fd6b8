"""The plots of a report: each function draws one, from a record alone.

All have the same width, so that their letters have the same size on a page.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .compute import running_compute
from .flows import FATES, changes, fates
from .legible import legible
from .record import RunRecord

WIDTH = 5.8  # inches
LEGEND = dict(frameon=False, fontsize=8.5)
DENSE, SLIM, GONE = '#9aa5b1', '#1f6feb', '#d1495b'
# Of the fates, in their order.
FATE_COLOURS = ('#1b4f9c', '#3fa796', '#f2b134', '#d1495b', '#e3e7eb')


def active_channels(record: RunRecord) -> Figure:
    """A heat map: groups downwards, steps to the right."""
    sizes = record.history['groups']
    shares = np.array(
        [
            [float(masks[name].float().mean()) for masks in record.keep]
            for name in sizes
        ]
    )
    figure, axes = _figure(1.3 + 0.17 * len(sizes))
    image = axes.imshow(shares, vmin=0, vmax=1, cmap='viridis', aspect='auto')
    names = [f'{legible(name)}  {size}' for name, size in sizes.items()]
    axes.set_yticks(range(len(names)), names, fontsize=6.5)
    _label_steps(axes, record)
    bar = figure.colorbar(image, location='top', aspect=50, pad=0.01)
    bar.set_label('share of the channels that is active', fontsize=8.5)
    bar.ax.tick_params(labelsize=7.5)
    bar.ax.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def channel_fates(record: RunRecord) -> Figure:
    """Bars of what became of the channels of each group."""
    found = fates(record.keep)
    counts = np.array(list(found.values()), dtype=float)
    shares = counts / counts.sum(1, keepdims=True)
    figure, axes = _figure(1.2 + 0.17 * len(found))
    left = np.zeros(len(found))
    for fate, colour, part in zip(FATES, FATE_COLOURS, shares.T):
        axes.barh(
            range(len(found)), part, 0.82, left, color=colour, label=fate
        )
        left += part
    axes.set_yticks(range(len(found)), list(map(legible, found)), fontsize=6.5)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(loc='outside upper center', ncols=3, **LEGEND)
    return figure


def added_and_removed(record: RunRecord) -> Figure:
    """Channels that every step brought back and took away."""
    done = changes(record.keep)
    steps = [entry['step'] for entry in record.history['entries'][1:]]
    figure, axes = _figure(2.4)
    axes.bar(steps, [c.added for c in done], color=SLIM, label='came')
    axes.bar(steps, [-c.removed for c in done], color=GONE, label='left')
    axes.axhline(0, color='black', lw=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel('exploration step')
    axes.set_ylabel('channels')
    figure.legend(loc='outside upper center', ncols=2, **LEGEND)
    return figure


def budget_over_time(record: RunRecord) -> Figure:
    """Cost of the sub-model, budget and regrow factor over iterations."""
    history = record.history
    at, share = _stairs(record, 'share')
    figure, axes = _figure(2.6)
    axes.step(at, share, where='post', color=SLIM, label=_cost_name(history))
    axes.axhline(
        history['budget']['keep'], color=GONE, ls='--', lw=1, label='budget'
    )
    at, factor = _stairs(record, 'regrow_factor')
    axes.step(
        at, factor, where='post', color='#f2b134', label='regrow factor δ'
    )
    axes.set_xlim(0, history['length'])
    axes.set_ylim(0, max(1, *share))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel('iteration')
    figure.legend(loc='outside upper center', ncols=3, **LEGEND)
    return figure


def scale_distributions(record: RunRecord) -> Figure | None:
    """|γ| of active channels before the first step and at the end."""
    before = record.history['scales']
    after = record.checkpoint.scales if record.checkpoint else {}
    if not before or not after:
        return None
    values = [torch.cat(list(each.values())) for each in (before, after)]
    top = max(float(each.quantile(0.999)) for each in values) or 1.0
    figure, axes = _figure(2.4)
    for each, colour, name in (
        (values[0], DENSE, 'before the first step'),
        (values[1], SLIM, 'at the end'),
    ):
        label = f'{name} ({len(each)} scales)'
        bins = np.linspace(0, top, 60)
        axes.hist(each.numpy(), bins, color=colour, alpha=0.65, label=label)
    axes.set_xlabel('|γ| of active channels')
    axes.set_ylabel('channels')
    figure.legend(loc='outside upper center', ncols=2, **LEGEND)
    return figure


def cost_by_part(record: RunRecord) -> Figure:
    """FLOPs and parameters of every part, dense and now."""
    dense = record.history['dense']['parts']
    slim = record.history['entries'][-1]['parts']
    names = [name for name, cost in dense.items() if cost['flops']]
    figure = Figure((WIDTH, 1.1 + 0.3 * len(names)), layout='constrained')
    both = figure.subplots(1, 2, sharey=True)
    for axes, key, unit, name in (
        (both[0], 'flops', 1e9, 'GFLOPs'),
        (both[1], 'params', 1e6, 'M parameters'),
    ):
        rows = np.arange(len(names))
        for parts, shift, colour, label in (
            (dense, -0.2, DENSE, 'dense'),
            (slim, 0.2, SLIM, 'sub-model'),
        ):
            values = [parts[n][key] / unit for n in names]
            axes.barh(rows + shift, values, 0.38, color=colour, label=label)
        axes.set_xlabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        _plain(axes)
    both[0].set_yticks(
        range(len(names)), list(map(legible, names)), fontsize=7.5
    )
    both[0].invert_yaxis()
    handles = both[0].get_legend_handles_labels()
    figure.legend(*handles, loc='outside upper center', ncols=2, **LEGEND)
    return figure


def training_compute(record: RunRecord) -> Figure:
    """Compute over iterations, of dense training and of the sub-models."""
    at, spent = running_compute(record.history)
    figure, axes = _figure(2.4)
    axes.plot([0, at[-1]], [0, 1], color=DENSE, label='dense')
    axes.plot(at, spent, color=SLIM, label='sub-models')
    axes.set_xlim(0, at[-1])
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel('iteration')
    figure.legend(loc='outside upper center', ncols=2, **LEGEND)
    return figure


def curves(named: Mapping[str, tuple[list, list]], unit: str) -> Figure | None:
    """Lines over epochs or iterations; None where there are only points."""
    lines = {name: line for name, line in named.items() if len(line[0]) > 1}
    if not lines:
        return None
    figure, axes = _figure(2.8)
    for name, (at, values) in lines.items():
        mark = 'o' if len(at) < 30 else ''
        axes.plot(at, values, marker=mark, ms=3, lw=1.3, label=legible(name))
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc='outside upper center', ncols=3, **LEGEND)
    return figure


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure((WIDTH, height), layout='constrained')
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=7.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_size(8.5)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)


def _label_steps(axes: Axes, record: RunRecord) -> None:
    """Iterations below the columns, as many as are legible."""
    at = [entry['iteration'] for entry in record.history['entries']]
    every = -(-len(at) // 12)
    axes.set_xticks(range(0, len(at), every), at[::every])
    axes.set_xlabel('iteration of the exploration step')


def _stairs(record: RunRecord, key: str) -> tuple[list, list]:
    """A value from each step to the next, and to the end of the run."""
    entries = record.history['entries']
    at = [entry['iteration'] for entry in entries]
    values = [entry[key] for entry in entries]
    return [*at, record.history['length']], [*values, values[-1]]


def _cost_name(history: Mapping) -> str:
    budget = history['budget']
    name = {'flops': 'FLOPs', 'params': 'parameters'}.get(
        budget['type'], budget['type']
    )
    part = 'of the scope, ' if budget['of'] == 'scope' else ''
    return f'{name} {part}share of dense'
