"""Pictures of a run: active channels over time, and what a model detects."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

PREFIX = 'chex/active/'


def read_active(scalars: Path) -> tuple[list[int], dict[str, list[int]]]:
    """Iterations and active channels per group from a run's scalars.json.

    Raises:
        ValueError: The file holds no exploration step.
    """
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
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
    axes.set_yticks(range(rows), list(active), fontsize=7)
    axes.set_xticks(range(columns), iterations, fontsize=7)
    axes.set_xlabel('iteration of the exploration step')
    axes.set_title(title, fontsize=9)
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
        axis.imshow(_annotated(visualizer, runner.model, dataset[index]))
    _save(figure, out)


def _annotated(visualizer, model, sample) -> np.ndarray:
    batch = dict(
        inputs=[sample['inputs']], data_samples=[sample['data_samples']]
    )
    detected = model.test_step(batch)[0]
    image = sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1]  # to RGB
    image = cv2.resize(np.ascontiguousarray(image), detected.ori_shape[::-1])
    visualizer.add_datasample(
        'detections', image, detected, draw_gt=False, pred_score_thr=0.5
    )
    return visualizer.get_image()


def _save(figure, out: Path) -> None:
    """Writes the picture under a temporary name, then renames it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f'.{out.name}')
    figure.savefig(partial, dpi=130, format=out.suffix[1:])
    partial.replace(out)
