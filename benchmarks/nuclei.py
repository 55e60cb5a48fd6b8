"""Dense, CHEX and uniformly narrow Mask R-CNN on real microscopy images.

One run each with the same schedule and seed; prints the table of
docs/results.md. What is in the work directory already is not run again.
Needs the nuclei data set (see configs/_base_/datasets/nuclei_instance.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from comparison import Task, compare_models

from chex_mm.packages.paths import generated_batch


def example(runner) -> dict:
    """One 256 x 256 image of noise: regions of all sizes, always the same."""
    torch.manual_seed(0)
    return generated_batch(runner.model, (3, 256, 256))


TASK = Task(
    config='configs/nuclei/mask_rcnn_nuclei_{}.py',
    models=('dense', 'chex50', 'uniform50', 'chex25', 'uniform25'),
    # Uncapped mAP: the stock one counts 100 detections of an image.
    scores={
        'bbox mAP': 'bbox/nucleus_precision',
        'segm mAP': 'segm/nucleus_precision',
    },
    example=example,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/nuclei')
    )
    compare_models(TASK, parser.parse_args().work_dir)


if __name__ == '__main__':
    main()
