"""Pictures of a run: active channels over time, and what a model detects."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from ..engine.scalars import read_scalars
from .legible import legible

PREFIX = 'chex/active/'
# One per class, none of them among those of the points.
COLOURS = ('tab:red', 'tab:orange', 'deeppink', 'tab:brown', 'black')
# Of a box of mmdet3d: between its corners, and those of its lower side.
FLOOR_EDGES = ((0, 3), (3, 7), (7, 4), (4, 0))
EDGES = (
    *FLOOR_EDGES,
    *((1, 2), (2, 6), (6, 5), (5, 1)),
    *((0, 1), (2, 3), (6, 7), (4, 5)),
)


def read_active(scalars: Path) -> tuple[list[int], dict[str, list[int]]]:
    """Iterations and active channels per group from a run's scalars.json.

    Raises:
        ValueError: The file holds no exploration step.
    """
    lines = read_scalars(scalars)
    steps = [line for line in lines if any(k.startswith(PREFIX) for k in line)]
    if not steps:
        raise ValueError(
            f'{scalars} holds no exploration step. Was it written by a run '
            'with CHEXHook, and is the run past its first step?'
        )
    groups = [key for key in steps[0] if key.startswith(PREFIX)]
    active = {k[len(PREFIX) :]: [s[k] for s in steps] for k in groups}
    return [step['step'] for step in steps], active


def draw_active(
    scalars: Path, sizes: dict[str, int], out: Path, title: str = ''
) -> None:
    """A heat map: groups downwards, exploration steps to the right.

    Args:
        scalars: `vis_data/scalars.json` of a run.
        sizes: Dense number of channels per group.
        out: The picture to write.
        title: Above the picture.
    """
    iterations, active = read_active(scalars)
    shares = np.array([[n / sizes[g] for n in active[g]] for g in active])
    rows, columns = shares.shape
    size = (3.2 + 0.55 * columns, 1.2 + 0.24 * rows)
    figure = Figure(size, layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap='viridis', aspect='auto')
    axes.set_yticks(range(rows), list(map(legible, active)), fontsize=7)
    axes.set_xticks(range(columns), iterations, fontsize=7)
    axes.set_xlabel('iteration of the exploration step')
    axes.set_title(legible(title), fontsize=9)
    for row, name in enumerate(active):
        for column, count in enumerate(active[name]):
            light = shares[row, column] < 0.6
            axes.text(
                column,
                row,
                str(int(count)),
                ha='center',
                va='center',
                fontsize=6,
                color='white' if light else 'black',
            )
    figure.colorbar(image, label='share of channels active')
    _save(figure, out)


@torch.no_grad()
def draw_detections(runner: Runner, out: Path, count: int = 6) -> None:
    """The first test images with what the runner's model detects in them."""
    visualizer = Visualizer.get_current_instance()
    visualizer.dataset_meta = runner.test_dataloader.dataset.metainfo
    dataset = runner.test_dataloader.dataset
    columns = min(3, count)
    rows = -(-count // columns)
    figure = Figure((3 * columns, 3 * rows), layout='constrained')
    panels = np.ravel(figure.subplots(rows, columns))
    for axis, index in zip(panels, range(len(dataset))):
        axis.axis('off')
        axis.imshow(annotated(visualizer, runner.model, dataset[index]))
    _save(figure, out)


def annotated(visualizer, model, sample, least: float = 0.5) -> np.ndarray:
    """The image of a sample with what `model` detects above a score."""
    batch = dict(
        inputs=[sample['inputs']], data_samples=[sample['data_samples']]
    )
    detected = model.test_step(batch)[0]
    image = sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1]  # to RGB
    image = cv2.resize(np.ascontiguousarray(image), detected.ori_shape[::-1])
    visualizer.add_datasample(
        'detections', image, detected, draw_gt=False, pred_score_thr=least
    )
    return visualizer.get_image()


@torch.no_grad()
def draw_rooms(
    runner: Runner, out: Path, count: int = 3, least: float = 0.5
) -> None:
    """The first test rooms, from a corner and from above, with boxes.

    Args:
        runner: Of a detector of mmdet3d whose clouds are level.
        out: The picture to write.
        count: Rooms, side by side.
        least: Score of a box that is drawn.
    """
    dataset = runner.test_dataloader.dataset
    names = dataset.metainfo['classes']
    count = min(count, len(dataset))
    figure = Figure((4 * count, 7.5), layout='constrained')
    for column in range(count):
        sample = dataset[column]
        points = sample['inputs']['points'].numpy()
        found = runner.model.test_step(pseudo_collate([sample]))[0]
        boxes = found.pred_instances_3d
        boxes = boxes[boxes.scores_3d >= least]
        tilted = figure.add_subplot(2, count, 1 + column, projection='3d')
        _draw_tilted(tilted, points, boxes)
        above = figure.add_subplot(2, count, 1 + count + column)
        draw_above(above, points, boxes, names)
        true = found.eval_ann_info['gt_bboxes_3d'].corners.numpy()
        _draw_edges(above, true[:, :, :2], FLOOR_EDGES, '0.2', ls=':')
    figure.suptitle(f'Boxes above a score of {least}; dotted: the true ones')
    _save(figure, out)


def _draw_tilted(axes, points, boxes) -> None:
    axes.scatter(*points[:, :3].T, c=points[:, 2], s=0.4, cmap='viridis')
    for label, corners in zip(boxes.labels_3d, boxes.bboxes_3d.corners):
        colour = COLOURS[int(label) % len(COLOURS)]
        _draw_edges(axes, corners.numpy()[None], EDGES, colour)
    axes.set_aspect('equal')
    axes.view_init(elev=50, azim=-60)
    axes.axis('off')


def draw_above(axes, points, boxes, names) -> None:
    """A cloud from above, (points, 3 or more), and the boxes found in it."""
    # The highest points last: they hide what is below them.
    points = points[points[:, 2].argsort()]
    axes.scatter(*points[:, :2].T, c=points[:, 2], s=0.6, cmap='viridis')
    for label, score, corners in zip(
        boxes.labels_3d.tolist(),
        boxes.scores_3d.tolist(),
        boxes.bboxes_3d.corners.numpy()[..., :2],
    ):
        colour = COLOURS[label % len(COLOURS)]
        _draw_edges(axes, corners[None], FLOOR_EDGES, colour)
        text = f'{names[label]} {score:.2f}'
        axes.text(*corners.min(0), text, color=colour, va='top', fontsize=7)
    axes.set_aspect('equal')
    axes.axis('off')


def _draw_edges(axes, boxes, edges, colour, **style) -> None:
    """Lines between corners of boxes, (boxes, 8, 2 or 3)."""
    for corners in boxes:
        for pair in edges:
            axes.plot(*corners[list(pair)].T, color=colour, lw=1.2, **style)


def _save(figure, out: Path) -> None:
    """Writes the picture under a temporary name, then renames it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f'.{out.name}')
    figure.savefig(partial, dpi=130, format=out.suffix[1:])
    partial.replace(out)
