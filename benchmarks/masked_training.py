"""What masked execution adds to a training iteration.

RetinaNet-R50 at 320 x 320, batch 2: plain iterations and iterations with
`enforce` in turn, in one process.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from rich.console import Console
from rich.table import Table

import chex_mm
from chex_mm.cli.command_line import load_config, use_scope
from chex_mm.packages.paths import Path, generated_batch, trace_detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--config', default='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
    )
    parser.add_argument('--repeats', type=int, default=10)
    arguments = parser.parse_args()
    plain, masked = measure(arguments.config, arguments.repeats)
    table = Table('iteration', 'seconds (median)', 'ratio')
    table.add_row('plain', f'{plain:.3f}', '1')
    table.add_row('masked', f'{masked:.3f}', f'{masked / plain:.3f}')
    Console().print(table)


def measure(name: str, repeats: int) -> tuple[float, float]:
    """Median seconds of a plain and of a masked training iteration."""
    from mmengine.registry import MODELS

    config = load_config(name)
    use_scope(config)
    config.model.backbone.init_cfg = None
    model = MODELS.build(config.model)
    batch = generated_batch(model)
    graph = trace_detector(model, batch)
    explorer = chex_mm.ChannelExplorer(
        model, graph, chex_mm.Budget('flops', keep=0.5), total_steps=90
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    data = model.data_preprocessor(batch, training=True)
    loss_path = Path('loss', data)

    def iterate(is_masked: bool) -> float:
        start = time.perf_counter()
        optimizer.zero_grad()
        model.parse_losses(loss_path(model))[0].backward()
        optimizer.step()
        if is_masked:
            explorer.enforce()
        return time.perf_counter() - start

    seconds = {False: [], True: []}
    for turn in range(repeats + 2):
        for is_masked in (False, True):
            taken = iterate(is_masked)
            if turn >= 2:  # the first ones warm up
                seconds[is_masked].append(taken)
    return statistics.median(seconds[False]), statistics.median(seconds[True])


if __name__ == '__main__':
    main()
