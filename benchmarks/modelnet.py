"""Dense, CHEX and uniformly narrow PointNet++ on the shapes of ModelNet10.

One run each with the same schedule and seed; prints the table of
docs/results.md. What is in the work directory already is not run again.
Needs the data set (see configs/_base_/datasets/modelnet10.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from comparison import Task, compare_models

TASK = Task(
    config='configs/modelnet/pointnet2_modelnet10_{}.py',
    models=('dense', 'chex50', 'uniform50', 'chex25', 'uniform25'),
    scores={
        'accuracy': 'shape/accuracy',
        'mean over classes': 'shape/class_accuracy',
    },
    example=lambda runner: next(iter(runner.test_dataloader)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/modelnet')
    )
    compare_models(TASK, parser.parse_args().work_dir)


if __name__ == '__main__':
    main()
