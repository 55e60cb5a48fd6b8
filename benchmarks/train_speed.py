"""What a training iteration costs: dense, masked and compact, in turn.

Every way has a process of its own, for its peak memory, and a turn at a time,
so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import pickle
import resource
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from rich.console import Console
from rich.table import Table

import chex_mm
from chex_mm.cli.command_line import load_config, use_scope
from chex_mm.deploy.slimming import build_model
from chex_mm.graph.state import graph_from_state, graph_state
from chex_mm.packages.paths import generated_batch, trace_detector

MODELS = {
    'RetinaNet-R50': 'configs/mmdet/retinanet/retinanet_r50_fpn_chex-50_coco',
    'Mask R-CNN-R50': 'configs/mmdet/mask_rcnn/mask_rcnn_r50_fpn_chex-50_coco',
    'SSD300-R50': 'configs/mmdet/ssd/ssd300_r50_chex-50_coco',
}
SIDES = {'SSD300-R50': 300}  # the only one its head fits
INTERVAL = 300  # iterations that fit_steps leaves between two steps, at least
WARMUP = 2


@dataclass(frozen=True)
class Way:
    """One way to train one model.

    Attributes:
        config: Path of the model's config.
        size: Height and width of images.
        batch: Images of an iteration.
        execution: 'dense', 'masked' or 'compact'.
        keep: Share of the FLOPs that the sub-model has.
        graph: The channels, pickled.
    """

    config: str
    size: int
    batch: int
    execution: str
    keep: float
    graph: bytes


def build(config_path: str):
    """The dense model of a config, for one process."""
    MMLogger.get_instance('quiet', log_level='ERROR')
    config = load_config(f'{config_path}.py')
    use_scope(config)
    torch.manual_seed(0)
    model = revert_sync_batchnorm(build_model(config))
    model.init_weights()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    return model.to(device).to(memory_format=torch.channels_last)


def batch_of(model, size: int, count: int) -> dict:
    """`count` generated images with their annotations."""
    pair = generated_batch(model, (3, size, size))
    return {
        key: [copy.deepcopy(values[i % len(values)]) for i in range(count)]
        for key, values in pair.items()
    }


def trace(config_path: str, size: int, pipe) -> None:
    """Sends the channels of a model, from a process that ends then."""
    model = build(config_path)
    batch = generated_batch(model, (3, size, size))
    # Pickled here: tensors that are sent live no longer than this process.
    pipe.send_bytes(pickle.dumps(graph_state(trace_detector(model, batch))))


def work(way: Way, pipe) -> None:
    """Trains when it is told to; first answers with its cost."""
    model = build(way.config)
    graph = graph_from_state(pickle.loads(way.graph))
    wrapper = OptimWrapper(
        torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    )
    batch = batch_of(model, way.size, way.batch)
    explorer, step_seconds = None, 0.0
    if way.execution != 'dense':
        explorer = chex_mm.ChannelExplorer(
            model,
            graph,
            chex_mm.Budget('flops', keep=way.keep),
            total_steps=1,
            execution=way.execution,
            divisor=8,
            score='mean_scale',
        )
        begin = time.perf_counter()
        explorer.step(wrapper.optimizer)
        step_seconds = time.perf_counter() - begin
    counts = explorer and {n: int(m.sum()) for n, m in explorer.keep.items()}
    pipe.send((graph.flops(counts) / graph.flops(), step_seconds))
    while pipe.recv():
        pipe.send(iterate(model, wrapper, explorer, batch))
    pipe.send(peak_memory())


def iterate(model, wrapper, explorer, batch) -> float:
    """Seconds of one training iteration."""
    model.train()
    batch = copy.deepcopy(batch)
    begin = time.perf_counter()
    model.train_step(batch, wrapper)
    if explorer is not None:
        explorer.enforce()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def peak_memory() -> float:
    """GB: of the GPU, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure(name: str, arguments) -> Iterator[dict]:
    """One row for every way to train a model."""
    context = multiprocessing.get_context('spawn')
    config, size = MODELS[name], SIDES.get(name, arguments.size)
    ours, theirs = context.Pipe()
    tracer = context.Process(target=trace, args=(config, size, theirs))
    tracer.start()
    theirs.close()  # else nobody would notice that the process ended early
    graph = ours.recv_bytes()
    tracer.join()
    ways = [Way(config, size, arguments.batch, 'dense', 1.0, graph)]
    for keep in arguments.keep:
        for execution in ('masked', 'compact'):
            ways.append(
                Way(config, size, arguments.batch, execution, keep, graph)
            )
    workers = []
    for way in ways:
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(way, theirs))
        process.start()
        theirs.close()
        workers.append((way, ours, process, ours.recv(), []))
    for turn in range(WARMUP + arguments.repeats):
        for _, pipe, _, _, seconds in workers:
            pipe.send(True)
            taken = pipe.recv()
            if turn >= WARMUP:
                seconds.append(taken)
    dense = statistics.median(workers[0][-1])
    for way, pipe, process, (share, step_seconds), seconds in workers:
        pipe.send(False)
        median = statistics.median(seconds)
        yield {
            'model': name,
            'execution': way.execution,
            'FLOPs': share,
            'seconds': median,
            'speed-up': dense / median,
            'of ideal': dense / median * share
            if way.execution == 'compact'
            else None,
            'peak GB': pipe.recv(),
            'step, s': step_seconds,
            'step / interval': step_seconds / (INTERVAL * median),
        }
        process.join()


def show(rows: list[dict]) -> None:
    table = Table(*rows[0])
    for row in rows:
        table.add_row(
            *(
                ''
                if value is None
                else f'{value:.3g}'
                if isinstance(value, float)
                else value
                for value in row.values()
            )
        )
    Console(width=120).print(table)


def draw(rows: list[dict], path: Path) -> None:
    """A bar for every way, beside what its FLOPs promise."""
    rows = [row for row in rows if row['execution'] != 'dense']
    figure = Figure(figsize=(8, 0.4 * len(rows) + 1), layout='constrained')
    axes = figure.add_subplot()
    for place, row in enumerate(reversed(rows)):
        color = 'C0' if row['execution'] == 'compact' else 'C7'
        axes.barh(place, row['speed-up'], color=color)
        axes.plot([1 / row['FLOPs']] * 2, [place - 0.4, place + 0.4], 'k-')
    axes.set_yticks(
        range(len(rows)),
        [
            f'{row["model"]}, {row["execution"]}, {row["FLOPs"]:.0%} FLOPs'
            for row in reversed(rows)
        ],
    )
    axes.axvline(1, color='C7', lw=1)
    axes.set_xlabel(
        'training speed, dense = 1; the black line is 1 / share of the FLOPs'
    )
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--only', nargs='+', default=list(MODELS))
    parser.add_argument('--size', type=int, default=320)
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--keep', type=float, nargs='+', default=[0.5, 0.25])
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--out', type=Path, help='a JSON file')
    parser.add_argument('--picture', type=Path, help='a PNG file')
    arguments = parser.parse_args()
    rows = []
    for name in arguments.only:
        rows += measure(name, arguments)
        show(rows)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=2))
    if arguments.picture:
        draw(rows, arguments.picture)


if __name__ == '__main__':
    main()
