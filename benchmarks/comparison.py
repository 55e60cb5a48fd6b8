"""Models of one task, trained with one schedule, side by side in a table.

What is in the work directory already is not run again.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from chex_mm.cli.command_line import build_runner, load_config, use_scope
from chex_mm.deploy.latency import latency
from chex_mm.packages.paths import run_paths


@dataclass(frozen=True)
class Task:
    """What is compared, and by what.

    Attributes:
        config: Path of the configs, the model's name in braces.
        models: Names; those that start with 'chex' are slimmed.
        scores: Title of a column to a key of the evaluator's metrics.
        example: A batch, of one sample or more, that FLOPs are counted on.
    """

    config: str
    models: tuple[str, ...]
    scores: dict[str, str]
    example: Callable[[Runner], dict]


def compare_models(task: Task, root: Path) -> None:
    """Trains what is missing, prints the table and keeps it as JSON."""
    rows, models = {}, {}
    for name in task.models:
        train(task, name, root / name)
        rows[name], models[name], sample = evaluate(task, name, root / name)
    for name, value in latency(models, lambda m: m.test_step(sample)).items():
        rows[name]['latency, ms'] = value
    (root / 'results.json').write_text(json.dumps(rows, indent=2))
    show(rows)


def train(task: Task, name: str, directory: Path) -> None:
    """Trains a model unless it is there; slims what CHEX trained."""
    config = task.config.format(name)
    if not (directory / 'last_checkpoint').exists():
        command('tools/train.py', config, '--work-dir', str(directory))
    if name.startswith('chex') and not (directory / 'slim').exists():
        checkpoint = (directory / 'last_checkpoint').read_text().strip()
        out = str(directory / 'slim')
        command('tools/slim.py', config, checkpoint, '--out', out)


def command(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True)


def evaluate(
    task: Task, name: str, directory: Path
) -> tuple[dict, nn.Module, dict]:
    """The row of a model, the model, and one sample to time it with."""
    config = task.config.format(name)
    checkpoint = (directory / 'last_checkpoint').read_text().strip()
    if (directory / 'slim').exists():
        config = str(directory / 'slim' / 'slim_config.py')
        checkpoint = str(directory / 'slim' / 'slim.pth')
    cfg = load_config(config)
    cfg.work_dir, cfg.load_from = str(directory / 'test'), checkpoint
    cfg.launcher = 'none'
    use_scope(cfg)
    runner = build_runner(cfg)
    metrics = runner.test()
    row = {title: metrics[key] for title, key in task.scores.items()}
    row['parameters, M'] = (
        sum(p.numel() for p in runner.model.parameters()) / 1e6
    )
    row['GFLOPs'] = gflops(runner.model, task.example(runner))
    row['training, s'] = training_seconds(directory)
    loader = runner.test_dataloader
    return row, runner.model, loader.collate_fn([loader.dataset[0]])


def gflops(model: nn.Module, batch: dict) -> float:
    """Multiply-adds of one sample by torch's own counter."""
    path = run_paths(copy.deepcopy(model), batch).cost
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        path(model)
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
