"""Where fewer FLOPs are less time: dense and slim, in eager and compiled.

The slim models are uniformly narrow, at several divisors, so that they differ
in nothing but widths.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from train_speed import MODELS, SIDES, batch_of, build, show

import chex_mm
from chex_mm.budget.allocation import uniform_counts
from chex_mm.deploy.latency import latency
from chex_mm.packages.paths import generated_batch, trace_detector

DIVISORS = 1, 8, 16, 32


class Inference(torch.nn.Module):
    """Backbone, neck and head: what a detector computes before it decides."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images, mode='tensor')


def first_channels(graph, counts) -> dict:
    """Masks that keep the first channels of every group."""
    keep = {}
    for name, count in counts.items():
        size = graph.groups[name].size
        keep[name] = torch.arange(size) < count
    return keep


def measure(name: str, arguments) -> list[dict]:
    """One row for every width, batch size and way to run."""
    model = build(MODELS[name]).eval()
    side = SIDES.get(name, arguments.size)
    batch = generated_batch(model, (3, side, side))
    graph = trace_detector(model, batch)
    budget = chex_mm.Budget('flops', keep=arguments.keep)
    models, shares = {'dense': Inference(model)}, {'dense': 1.0}
    for divisor in DIVISORS:
        counts = uniform_counts(graph, budget, divisor=divisor)
        narrow = chex_mm.slim(model, graph, first_channels(graph, counts))
        models[f'divisor {divisor}'] = Inference(narrow)
        shares[f'divisor {divisor}'] = graph.flops(counts) / graph.flops()
    ways = {'eager': models}
    if arguments.compile:
        ways['compiled'] = {
            key: torch.compile(each) for key, each in models.items()
        }
    rows = []
    for size in arguments.batch:
        data = batch_of(model, side, size)
        images = model.data_preprocessor(data)['inputs']
        for way, each in ways.items():
            found = latency(each, lambda m, x=images: m(x), arguments.repeats)
            rows += [
                {
                    'model': name,
                    'way': way,
                    'batch': str(size),
                    'width': width,
                    'FLOPs': shares[width],
                    'ms': taken,
                    'speed-up': found['dense'] / taken,
                }
                for width, taken in found.items()
            ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--only', nargs='+', default=['RetinaNet-R50'])
    parser.add_argument('--size', type=int, default=320)
    parser.add_argument('--batch', type=int, nargs='+', default=[1, 16])
    parser.add_argument('--keep', type=float, default=0.5)
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--compile', action='store_true')
    parser.add_argument('--out', type=Path, help='a JSON file')
    arguments = parser.parse_args()
    rows = []
    for name in arguments.only:
        rows += measure(name, arguments)
        show(rows)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=2))


if __name__ == '__main__':
    main()
