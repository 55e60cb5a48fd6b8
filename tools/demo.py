"""The main job in ten minutes on two cores: train with CHEX, slim, evaluate.

Writes a synthetic data set, trains a small detector from scratch to half of
its FLOPs, cuts it narrow, evaluates the masked and the slim model with the
stock test loop and reports both in the work directory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from argparse import Namespace
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chex_mm.cli.arguments import command_parser
from chex_mm.cli.command_line import run_command

STAGES = (
    'write the data set',
    'train with CHEX',
    'slim',
    'evaluate masked and slim',
    'measure latency, report',
)


@dataclass(frozen=True)
class Demo:
    """What differs between the tasks.

    Attributes:
        config: Of the training run.
        data: Where its data set belongs.
        work_dir: Where results go unless the command line says otherwise.
        writer: What writes the data set, a module and its function.
        metrics: Names in the report, and what the stock metric calls them.
        minutes: Of every stage, on two idle cores.
        side: Height and width of an image to export for; None for clouds,
            whose operators ONNX lacks.
    """

    config: str
    data: str
    work_dir: str
    writer: tuple[str, str]
    metrics: dict[str, str]
    minutes: tuple[float, ...]
    side: int | None = None


DEMOS = {
    '2d': Demo(
        config='configs/demo/mask_rcnn_demo_chex.py',
        data='data/shapes',
        work_dir='work_dirs/demo',
        writer=('synthetic', 'write_shapes'),
        metrics={'bbox': 'coco/bbox_mAP', 'segm': 'coco/segm_mAP'},
        minutes=(0.2, 4.5, 0.6, 1, 0.5),
        side=128,
    ),
    '3d': Demo(
        config='configs/demo3d/votenet_demo_chex.py',
        data='data/rooms',
        work_dir='work_dirs/demo3d',
        writer=('synthetic_rooms', 'write_rooms'),
        metrics={'0.25': 'mAP_0.25', '0.50': 'mAP_0.50'},
        minutes=(0.2, 5, 0.6, 0.6, 0.5),
    ),
}


class Progress:
    """Says which stage runs and how long the rest usually takes."""

    def __init__(self, minutes: tuple[float, ...]):
        self.start = time.perf_counter()
        self.minutes = minutes
        self.stage = 0

    def next(self) -> None:
        left = max(sum(self.minutes[self.stage :]), 1)
        name = STAGES[self.stage]
        self.stage += 1
        print(
            f'\n[{self.stage}/{len(STAGES)}] {name} '
            f'(about {left:.0f} min left on two idle cores)',
            flush=True,
        )

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start


def command(*words: str) -> None:
    """Runs a tool as a user would, and shows the line."""
    print('$ python ' + ' '.join(words), flush=True)
    done = subprocess.run([sys.executable, *words], check=False)
    if done.returncode:  # it has said why
        raise SystemExit(done.returncode)


def evaluated(config: str, checkpoint: Path, work_dir: Path):
    """Runner and metrics of a checkpoint in the stock test loop."""
    from chex_mm.cli.command_line import build_runner, load_config

    cfg = load_config(config)
    cfg.work_dir, cfg.load_from = str(work_dir), str(checkpoint)
    cfg.launcher = 'none'
    runner = build_runner(cfg)
    return runner, runner.test()


def evaluate(demo: Demo, work_dir: Path) -> tuple[dict, dict]:
    """The runners of the masked and the slim model, and their mAP."""
    slim = work_dir / 'slim'
    trained = Path((work_dir / 'last_checkpoint').read_text().strip())
    runners, found = {}, {}
    for name, *where in (
        ('masked', demo.config, trained, work_dir / 'masked'),
        (
            'slim',
            str(slim / 'slim_config.py'),
            slim / 'slim.pth',
            work_dir / 'slim_test',
        ),
    ):
        runners[name], metrics = evaluated(*where)
        found[name] = {n: metrics[key] for n, key in demo.metrics.items()}
    return runners, found


def measure(runners: dict) -> dict[str, float]:
    """Milliseconds of one sample in both models."""
    from mmengine.dataset import pseudo_collate

    from chex_mm.deploy.latency import latency

    batch = pseudo_collate([runners['slim'].test_dataloader.dataset[0]])
    models = {'dense': runners['masked'].model, 'slim': runners['slim'].model}
    return latency(models, lambda model: model.test_step(batch))


def report(demo: Demo, work_dir: Path, progress: Progress) -> dict:
    """Evaluates and times both models; returns what report.json holds."""
    slimmed = json.loads((work_dir / 'slim' / 'report.json').read_text())
    progress.next()
    runners, precision = evaluate(demo, work_dir)
    progress.next()
    times = measure(runners)
    return {
        'flops': slimmed['flops'],
        'params': slimmed['params'],
        'file_bytes': slimmed['file_bytes'],
        'latency_ms': times,
        'mAP': precision,
        'max_abs_diff': slimmed['max_abs_diff'],
        'seconds': progress.seconds,
    }


def table(result: dict) -> Table:
    """The masked model, which is dense in shape, beside the slim one."""
    rows = Table('', 'dense shape, masked', 'slim', 'ratio')

    def add(name, before, after, form='{:.3g}'):
        ratio = f'{after / before:.2f}' if before else '-'
        rows.add_row(name, form.format(before), form.format(after), ratio)

    for name, key, unit in (
        ('GFLOPs (multiply-adds)', 'flops', 1e9),
        ('parameters, M', 'params', 1e6),
        ('file, MB', 'file_bytes', 1e6),
        ('latency, ms (CPU, batch 1)', 'latency_ms', 1),
    ):
        add(name, result[key]['dense'] / unit, result[key]['slim'] / unit)
    for name, masked in result['mAP']['masked'].items():
        add(f'mAP ({name})', masked, result['mAP']['slim'][name], '{:.3f}')
    return rows


def next_steps(demo: Demo, work_dir: Path) -> list[str]:
    """Commands for the slim model, ready to paste."""
    made = f'{work_dir}/slim/slim_config.py {work_dir}/slim/slim.pth'
    lines = [f'python tools/test.py {made}']
    if demo.side is not None:
        lines += [
            f'python tools/export.py {made} --format onnx --shape {demo.side}',
            f'python tools/report.py {work_dir}  # again, with the export',
        ]
    activate = Path('.venv/bin/activate')
    if Path(sys.prefix, 'bin/activate') == activate.absolute():
        lines.insert(0, f'source {activate}')
    return lines


def parse_arguments() -> Namespace:
    parser = command_parser(__doc__.partition('\n')[0])
    parser.add_argument(
        '--task',
        choices=[*DEMOS],
        default='2d',
        help='masks in images or boxes in clouds (default: %(default)s)',
    )
    parser.add_argument('--work-dir', type=Path, help='where results go')
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    demo = DEMOS[arguments.task]
    work_dir = arguments.work_dir or Path(demo.work_dir)
    progress = Progress(demo.minutes)
    progress.next()
    module, function = demo.writer
    package = import_module(f'chex_mm.engine.datasets.{module}')
    getattr(package, function)(demo.data)
    progress.next()
    command('tools/train.py', demo.config, '--work-dir', str(work_dir))
    progress.next()
    checkpoint = (work_dir / 'last_checkpoint').read_text().strip()
    command(
        *('tools/slim.py', demo.config, checkpoint),
        *('--out', str(work_dir / 'slim'), '--overwrite'),
    )
    result = report(demo, work_dir, progress)
    partial = work_dir / '.report.json'
    partial.write_text(json.dumps(result, indent=2))
    partial.replace(work_dir / 'report.json')
    Console().print(table(result))
    command('tools/report.py', str(work_dir))
    print(
        f'{progress.seconds / 60:.1f} minutes; see {work_dir}/report.json, '
        'slim/ and report/report.html'
    )
    print('\n'.join(['What you can do next:', *next_steps(demo, work_dir)]))


if __name__ == '__main__':
    run_command(main)
