"""What it takes to find the channels of detectors, replays included.

Each architecture in a process of its own, beside one plain forward pass.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm

import chex_mm
from chex_mm.cli.command_line import load_config, use_scope
from chex_mm.deploy.slimming import build_model
from chex_mm.dispatch.watch import Watch
from chex_mm.packages.paths import generated_batch, run_paths

CONFIGS = (
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'ssd/ssd300_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'yolox/yolox_s_8xb8-300e_coco.py',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'hrnet/fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco.py',
    'detr/detr_r50_8xb2-150e_coco.py',
    'swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
)
COLUMNS = (
    ('operators', '10'),
    ('pass', '8.2f'),
    ('outputs', '9.2f'),
    ('all', '8.2f'),
    ('CPU', '8.2f'),
    ('MB', '8.0f'),
)


class Count(Watch):
    """Counts operators."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.total += 1
        return func(*args, **(kwargs or {}))


def build(name):
    """A detector with random weights; nothing is downloaded."""
    MMLogger.get_instance('benchmark', log_level='ERROR')
    config = load_config(f'mmdet::{name}')
    use_scope(config)
    return revert_sync_batchnorm(build_model(config))


def fastest(repeats, function):
    """The least wall and CPU seconds of several calls."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus)


def resident(field):
    """Megabytes of this process: 'VmRSS' now, 'VmHWM' at most."""
    text = Path('/proc/self/status').read_text()
    return int(text.partition(f'{field}:')[2].split()[0]) / 1e3


def measure(name, arguments):
    """Everything that the table says of one architecture."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model, side = build(name), arguments.size
    paths = run_paths(model, generated_batch(model, (3, side, side)))
    count = Count()

    def forward():
        with torch.no_grad():
            paths.cost(model)

    def everything():
        return chex_mm.trace_channels(
            model, paths.cost, paths.also, repeats_cost=paths.repeats_cost
        )

    with count:
        forward()
    plain, _ = fastest(arguments.repeats, forward)
    outputs, _ = fastest(
        arguments.repeats, lambda: chex_mm.trace_channels(model, paths.cost)
    )
    before = resident('VmRSS')
    Path('/proc/self/clear_refs').write_text('5')  # forget the peak
    seconds, cpu = fastest(arguments.repeats, everything)
    peak = resident('VmHWM') - before
    return [count.total, plain, outputs, seconds, cpu, peak]


def measure_apart(name, arguments):
    """`measure` in a process of its own."""
    command = [sys.executable, '-W', 'ignore', __file__, '--one', name]
    for key in ('size', 'threads', 'repeats'):
        command += [f'--{key}', str(getattr(arguments, key))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='*', default=CONFIGS)
    parser.add_argument('--size', type=int, default=320)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--one', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments)))
        return
    print(f'{arguments.size} x {arguments.size}, {arguments.threads} threads')
    heads = (f'{head:>{form.partition(".")[0]}}' for head, form in COLUMNS)
    print(f'{"":50}{"".join(heads)}')
    for name in arguments.configs:
        found = measure_apart(name, arguments)
        cells = (f'{v:{form}}' for v, (_, form) in zip(found, COLUMNS))
        print(f'{name:50}{"".join(cells)}', flush=True)


if __name__ == '__main__':
    main()
