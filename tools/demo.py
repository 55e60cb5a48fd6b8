"""The main job in ten minutes on two cores: train with CHEX, slim, evaluate.

Writes synthetic images, trains a small Mask R-CNN from scratch to half of
its FLOPs, cuts it narrow, evaluates the masked and the slim model with the
stock test loop and reports both in `work_dirs/demo`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

CONFIG = 'configs/demo/mask_rcnn_demo_chex.py'
DATA = Path('data/shapes')
STAGES = (
    ('write the data set', 0.2),
    ('train with CHEX', 4.5),
    ('slim', 0.6),
    ('evaluate masked and slim', 1),
    ('measure latency, draw pictures', 0.5),
)


class Progress:
    """Says which stage runs and how long the rest usually takes."""

    def __init__(self):
        self.start = time.perf_counter()
        self.stage = 0

    def next(self) -> None:
        name, _ = STAGES[self.stage]
        left = sum(minutes for _, minutes in STAGES[self.stage :])
        self.stage += 1
        print(
            f'\n[{self.stage}/{len(STAGES)}] {name} '
            f'(about {max(left, 1):.0f} min left on two idle cores)',
            flush=True,
        )

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start


def command(*words: str) -> None:
    """Runs a tool as a user would, and shows the line."""
    print('$ python ' + ' '.join(words), flush=True)
    subprocess.run([sys.executable, *words], check=True)


def evaluated(config: str, checkpoint: Path, work_dir: Path):
    """Runner and metrics of a checkpoint in the stock test loop."""
    from chex_mm.engine.command_line import build_runner, load_config

    cfg = load_config(config)
    cfg.work_dir, cfg.load_from = str(work_dir), str(checkpoint)
    cfg.launcher = 'none'
    runner = build_runner(cfg)
    return runner, runner.test()


def report(work_dir: Path, progress: Progress) -> dict:
    """Evaluates both models and draws; returns what report.json holds."""
    from chex_mm.engine.latency import latency
    from chex_mm.engine.pictures import draw_active, draw_detections

    slim_dir = work_dir / 'slim'
    slim_report = json.loads((slim_dir / 'report.json').read_text())
    trained = Path((work_dir / 'last_checkpoint').read_text().strip())
    progress.next()
    masked, masked_metrics = evaluated(CONFIG, trained, work_dir / 'masked')
    slim, slim_metrics = evaluated(
        str(slim_dir / 'slim_config.py'),
        slim_dir / 'slim.pth',
        work_dir / 'slim_test',
    )
    progress.next()
    batch = next(iter(slim.test_dataloader))
    times = latency(
        {'dense': masked.model, 'slim': slim.model},
        lambda model: model.test_step(
            {name: values[:1] for name, values in batch.items()}
        ),
    )
    draw_detections(slim, work_dir / 'detections.png')
    scalars = max(work_dir.glob('*/vis_data/scalars.json'))
    draw_active(
        scalars,
        {
            name: group['dense']
            for name, group in slim_report['groups'].items()
        },
        work_dir / 'channels.png',
        'Active channels after each exploration step',
    )
    return {
        'flops': slim_report['flops'],
        'params': slim_report['params'],
        'file_bytes': slim_report['file_bytes'],
        'latency_ms': times,
        'mAP': {
            'masked': _mean_precision(masked_metrics),
            'slim': _mean_precision(slim_metrics),
        },
        'max_abs_diff': slim_report['max_abs_diff'],
        'seconds': progress.seconds,
    }


def _mean_precision(metrics: dict) -> dict:
    return {t: metrics[f'coco/{t}_mAP'] for t in ('bbox', 'segm')}


def show(result: dict) -> None:
    """Prints the table: the masked model, dense in shape, and the slim."""
    table = Table('', 'dense shape, masked', 'slim', 'ratio')

    def row(name, before, after, form='{:.3g}'):
        ratio = f'{after / before:.2f}' if before else '-'
        table.add_row(name, form.format(before), form.format(after), ratio)

    for name, key, unit in (
        ('GFLOPs (multiply-adds)', 'flops', 1e9),
        ('parameters, M', 'params', 1e6),
        ('file, MB', 'file_bytes', 1e6),
        ('latency, ms (CPU, batch 1)', 'latency_ms', 1),
    ):
        row(name, result[key]['dense'] / unit, result[key]['slim'] / unit)
    for task in ('bbox', 'segm'):
        masked, slim = (result['mAP'][k][task] for k in ('masked', 'slim'))
        row(f'{task} mAP', masked, slim, '{:.3f}')
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', type=Path, default='work_dirs/demo')
    work_dir = parser.parse_args().work_dir
    progress = Progress()
    progress.next()
    from chex_mm.engine.datasets.synthetic import write_shapes

    write_shapes(DATA)
    progress.next()
    command('tools/train.py', CONFIG, '--work-dir', str(work_dir))
    progress.next()
    checkpoint = (work_dir / 'last_checkpoint').read_text().strip()
    command(
        *('tools/slim.py', CONFIG, checkpoint),
        *('--out', str(work_dir / 'slim'), '--overwrite'),
    )
    result = report(work_dir, progress)
    partial = work_dir / '.report.json'
    partial.write_text(json.dumps(result, indent=2))
    partial.replace(work_dir / 'report.json')
    show(result)
    print(
        f'{result["seconds"] / 60:.1f} minutes; see {work_dir}/report.json, '
        'channels.png, detections.png and slim/'
    )


if __name__ == '__main__':
    main()
