"""Dense, CHEX and uniformly narrow Mask R-CNN on real microscopy images.

One run each with the same schedule and seed; prints the table of
docs/results.md. What is in the work directory already is not run again.
Needs the nuclei data set (see configs/_base_/datasets/nuclei_instance.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chex_mm.engine.command_line import build_runner, load_config
from chex_mm.engine.latency import latency

CONFIG = 'configs/nuclei/mask_rcnn_nuclei_{}.py'
MODELS = 'dense', 'chex50', 'uniform50', 'chex25', 'uniform25'
# Uncapped mAP: the stock one counts 100 detections of an image.
SCORES = {'bbox mAP': 'bbox/nucleus_precision'}
SCORES['segm mAP'] = 'segm/nucleus_precision'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', type=Path, default='work_dirs/nuclei')
    root = parser.parse_args().work_dir
    rows, models = {}, {}
    for name in MODELS:
        train(name, root / name)
        rows[name], models[name], batch = evaluate(name, root / name)
    for name, value in latency(models, lambda m: m.test_step(batch)).items():
        rows[name]['latency, ms'] = value
    (root / 'results.json').write_text(json.dumps(rows, indent=2))
    show(rows)


def train(name: str, directory: Path) -> None:
    """Trains a model unless it is there; slims what CHEX trained."""
    config = CONFIG.format(name)
    if not (directory / 'last_checkpoint').exists():
        command('tools/train.py', config, '--work-dir', str(directory))
    if name.startswith('chex') and not (directory / 'slim').exists():
        checkpoint = (directory / 'last_checkpoint').read_text().strip()
        out = str(directory / 'slim')
        command('tools/slim.py', config, checkpoint, '--out', out)


def command(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True)


def evaluate(name: str, directory: Path) -> tuple[dict, object, dict]:
    """The row of a model, the model, and a batch to time it with."""
    config = CONFIG.format(name)
    checkpoint = (directory / 'last_checkpoint').read_text().strip()
    if (directory / 'slim').exists():
        config = str(directory / 'slim' / 'slim_config.py')
        checkpoint = str(directory / 'slim' / 'slim.pth')
    cfg = load_config(config)
    cfg.work_dir, cfg.load_from = str(directory / 'test'), checkpoint
    cfg.launcher = 'none'
    runner = build_runner(cfg)
    metrics = runner.test()
    row = {title: metrics[key] for title, key in SCORES.items()}
    row['parameters, M'] = (
        sum(p.numel() for p in runner.model.parameters()) / 1e6
    )
    row['GFLOPs'] = gflops(runner)
    row['training, s'] = training_seconds(directory)
    return row, runner.model, next(iter(runner.test_dataloader))


def gflops(runner) -> float:
    """Multiply-adds of one 256 x 256 image by torch's own counter."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from chex_mm.engine.tracing import Path as RunPath
    from chex_mm.engine.tracing import generated_batch, run_paths

    torch.manual_seed(0)
    batch = generated_batch(runner.model, (3, 256, 256))
    path: RunPath = run_paths(runner.model, batch).cost
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        path(runner.model)
    return counter.get_total_flops() / 2e9


def training_seconds(directory: Path) -> float:
    """Iterations times their mean seconds, from the run's own log."""
    lines = [
        json.loads(line)
        for line in max(directory.glob('*/vis_data/scalars.json'))
        .read_text()
        .splitlines()
    ]
    steps = [line for line in lines if 'time' in line and 'loss' in line]
    mean = sum(line['time'] for line in steps) / len(steps)
    return mean * steps[-1]['step']


def show(rows: dict) -> None:
    titles = list(next(iter(rows.values())))
    table = Table('model', *titles)
    for name, row in rows.items():
        table.add_row(name, *(f'{row[title]:.4g}' for title in titles))
    Console().print(table)


if __name__ == '__main__':
    main()
