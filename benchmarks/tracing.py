"""Seconds to find the channels of RetinaNet-R50, replay included.

Beside them one plain forward pass, measured in the same run.
"""

import argparse
import time
from pathlib import Path

import mmdet
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.logging import MMLogger

import chex_mm
from chex_mm.engine.tracing import generated_batch, run_paths

CONFIG = '.mim/configs/retinanet/retinanet_r50_fpn_1x_coco.py'


def build_retinanet():
    """A randomly initialised RetinaNet-R50; nothing is downloaded."""
    register_all_modules()
    MMLogger.get_instance('benchmark', log_level='ERROR')
    cfg = Config.fromfile(Path(mmdet.__file__).parent / CONFIG).model
    cfg.backbone.init_cfg = None
    return MODELS.build(cfg).eval()


def fastest(repeats, function):
    """The least wall seconds of several calls, and the last result."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, default=320)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = build_retinanet()
    side = arguments.size
    image = torch.randn(1, 3, side, side)
    paths = run_paths(model, generated_batch(model, (3, side, side)))

    def forward():
        with torch.no_grad():
            model.eval()(image)

    def outputs():
        return chex_mm.trace_channels(model.eval(), (image,))

    def everything():
        return chex_mm.trace_channels(model, paths.cost, also=paths.also)

    plain, _ = fastest(arguments.repeats, forward)
    rows = {'one plain forward pass': plain}
    rows['trace: outputs'], graph = fastest(arguments.repeats, outputs)
    name = f'trace: {", ".join(p.mode for p in (paths.cost, *paths.also))}'
    rows[name], _ = fastest(arguments.repeats, everything)
    size = f'{side} x {side}, {arguments.threads} threads'
    print(f'RetinaNet-R50, {size}: {str(graph).splitlines()[0]}')
    print(f'{"":34}{"seconds":>9}{"ratio":>8}')
    for name, seconds in rows.items():
        print(f'{name:34}{seconds:9.2f}{seconds / plain:8.1f}')


if __name__ == '__main__':
    main()
