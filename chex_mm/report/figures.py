"""The five figures of a report: each function draws one.

All have the same width, so that their letters have the same size on a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from uuid import uuid4

import cv2
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from mmengine.registry import VISUALIZERS
from mmengine.visualization import Visualizer

from ..dispatch.randomness import fixed_random_state
from .numbers import FATES, fates, running_compute
from .pair import Pair, predictions
from .record import RunRecord

WIDTH = 5.8  # inches
LEGEND = dict(loc='outside upper center', frameon=False, fontsize=8.5)
DENSE, SLIM, LIMIT, REGROW = '#9aa5b1', '#1f6feb', '#d1495b', '#f2b134'
# Of the fates, in their order.
FATE_COLOURS = ('#1b4f9c', '#3fa796', '#f2b134', '#d1495b', '#e3e7eb')
COUNTED = 10  # columns, at most, that have room for numbers
LEAST = 0.3  # score of a detection that is drawn
# One per class, none of them among those of the points.
BOX_COLOURS = ('tab:red', 'tab:orange', 'deeppink', 'tab:brown', 'black')
# Around the floor of a box, by the numbers that mmdet3d gives its corners.
FLOOR = [0, 3, 7, 4, 0]


def legible(name: str) -> str:
    """A name that is not taken for a formula, which $...$ would be."""
    return name.replace('$', r'\$')


def active_channels(record: RunRecord) -> Figure:
    """A heat map: groups downwards, steps to the right."""
    sizes, entries = record.history['groups'], record.history['entries']
    counts = np.array(
        [[int(masks[name].sum()) for masks in record.keep] for name in sizes]
    )
    shares = counts / np.array(list(sizes.values()))[:, None]
    figure, axes = _figure(1.3 + 0.17 * len(sizes))
    image = axes.imshow(shares, vmin=0, vmax=1, cmap='viridis', aspect='auto')
    if len(entries) <= COUNTED:
        for (row, column), count in np.ndenumerate(counts):
            colour = 'white' if shares[row, column] < 0.6 else 'black'
            style = dict(ha='center', va='center', fontsize=6, color=colour)
            axes.text(column, row, str(count), **style)
    names = [f'{legible(name)}  {size}' for name, size in sizes.items()]
    axes.set_yticks(range(len(names)), names, fontsize=6.5)
    every = -(-len(entries) // 12)
    at = [entry['iteration'] for entry in entries]
    axes.set_xticks(range(0, len(at), every), at[::every])
    axes.set_xlabel('iteration of the exploration step')
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
    rows, left = range(len(found)), np.zeros(len(found))
    for fate, colour, part in zip(FATES, FATE_COLOURS, shares.T):
        axes.barh(rows, part, 0.82, left, color=colour, label=fate)
        left += part
    axes.set_yticks(rows, list(map(legible, found)), fontsize=6.5)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(ncols=3, **LEGEND)
    return figure


def cost_and_budget(record: RunRecord) -> Figure:
    """Cost, budget, regrow factor and compute spent over iterations."""
    history = record.history
    entries, budget = history['entries'], history['budget']
    at, spent = running_compute(history)
    share, regrow = (
        [entry[key] for entry in [*entries, entries[-1]]]
        for key in ('share', 'regrow_factor')
    )
    figure, axes = _figure(2.8)
    stairs = partial(axes.step, at, where='post')
    stairs(share, color=SLIM, label=f'{_cost_name(budget)} share of dense')
    axes.axhline(budget['keep'], color=LIMIT, ls='--', lw=1, label='budget')
    stairs(regrow, color=REGROW, label='regrow factor δ')
    axes.plot(
        [0, *at], [0, *spent], color=DENSE, label='compute of the sub-models'
    )
    axes.set_xlim(0, history['length'])
    axes.set_ylim(0, max(1, *share))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel('iteration')
    figure.legend(ncols=2, **LEGEND)
    return figure


def _cost_name(budget: Mapping) -> str:
    names = {'flops': 'FLOPs', 'params': 'parameters'}
    name = names.get(budget['type'], budget['type'])
    return f'{name} of the scope,' if budget['of'] == 'scope' else name


def latencies(times: Mapping[int, Mapping[str, float]]) -> Figure:
    """Bars of milliseconds by batch size, dense and slim."""
    figure, axes = _figure(0.9 + 0.5 * len(times))
    rows = np.arange(len(times))
    for name, shift, colour in (('dense', -0.2, DENSE), ('slim', 0.2, SLIM)):
        values = [found[name] for found in times.values()]
        bars = axes.barh(rows + shift, values, 0.38, color=colour, label=name)
        axes.bar_label(bars, fmt=' %.1f', fontsize=7.5)
    axes.set_yticks(rows, [f'batch {size}' for size in times])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel('ms')
    figure.legend(ncols=2, **LEGEND)
    return figure


@torch.no_grad()
def detections(pair: Pair) -> Figure | None:
    """What both models find in the samples, one sample a row.

    None if they find no boxes, which are all that is drawn.
    """
    found = predictions(pair.dense, pair.samples[0])
    if 'bboxes_3d' in getattr(found, 'pred_instances_3d', ()):
        draw = partial(_draw_cloud, pair.metainfo['classes'])
    elif 'bboxes' in getattr(found, 'pred_instances', ()):
        draw = partial(_draw_image, _visualizer(pair))
    else:
        return None
    rows = len(pair.samples)
    figure = Figure((WIDTH, 0.4 + WIDTH / 2 * rows), layout='constrained')
    panels = figure.subplots(rows, 2, squeeze=False)
    for row, sample in zip(panels, pair.samples):
        for axes, model in zip(row, (pair.dense, pair.slim)):
            axes.axis('off')
            draw(axes, sample, predictions(model, sample))
    panels[0][0].set_title(pair.name, fontsize=9)
    panels[0][1].set_title('slim', fontsize=9)
    return figure


def _visualizer(pair: Pair) -> Visualizer:
    """That of the run, writing nowhere."""
    kind = pair.config.get('visualizer', {}).get('type', 'DetLocalVisualizer')
    visualizer = VISUALIZERS.build(dict(type=kind, name=uuid4().hex))
    visualizer.dataset_meta = pair.metainfo
    return visualizer


def _draw_image(visualizer: Visualizer, axes: Axes, sample, found) -> None:
    image = sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1]  # to RGB
    image = cv2.resize(np.ascontiguousarray(image), found.ori_shape[::-1])
    with fixed_random_state():  # colours of masks
        visualizer.add_datasample(
            'detections', image, found, draw_gt=False, pred_score_thr=LEAST
        )
    axes.imshow(visualizer.get_image())


def _draw_cloud(classes, axes: Axes, sample, found) -> None:
    """Draws a cloud from above, and the boxes found in it."""
    points = sample['inputs']['points'].numpy()  # (points, 3 or more)
    # The highest points last: they hide what is below them.
    points = points[points[:, 2].argsort()]
    axes.scatter(*points[:, :2].T, c=points[:, 2], s=0.6, cmap='viridis')
    boxes = found.pred_instances_3d
    boxes = boxes[boxes.scores_3d >= LEAST]
    for label, score, corners in zip(
        boxes.labels_3d.tolist(),
        boxes.scores_3d.tolist(),
        boxes.bboxes_3d.corners.numpy()[..., :2],
    ):
        colour = BOX_COLOURS[label % len(BOX_COLOURS)]
        axes.plot(*corners[FLOOR].T, color=colour, lw=1.2)
        text = f'{legible(classes[label])} {score:.2f}'
        axes.text(*corners.min(0), text, color=colour, va='top', fontsize=7)
    axes.set_aspect('equal')


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure((WIDTH, height), layout='constrained')
    axes = figure.subplots()
    axes.tick_params(labelsize=7.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_size(8.5)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    return figure, axes
