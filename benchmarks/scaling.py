"""How tracing grows with operators, and exploring with width.

CPU seconds of this process, so that a busy machine distorts them less.
"""

import argparse
import time

import torch
from torch import nn

import chex_mm

LAYERS = 25, 50, 100, 200, 400
WIDTHS = 64, 128, 256, 512, 1024, 2048
SIDE = 8


def chain(layers, width):
    """Convolution, norm, activation, again and again."""
    blocks, into = [], 3
    for _ in range(layers):
        conv = nn.Conv2d(into, width, 1, bias=False)
        blocks += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        into = width
    return nn.Sequential(*blocks, nn.Conv2d(width, 2, 1)).eval()


def fastest(repeats, function):
    """The least CPU seconds of several calls, and the last result."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def traced(layers, repeats):
    """CPU seconds to trace a chain, replays included."""
    model, image = chain(layers, 16), torch.randn(1, 3, SIDE, SIDE)
    run = chex_mm.trace_channels
    seconds, graph = fastest(repeats, lambda: run(model, image))
    assert len(graph.free) == layers
    return seconds


def explored(width, repeats):
    """CPU seconds of one exploration step on two groups of one width."""
    model = chain(2, width)
    image = torch.randn(1, 3, SIDE, SIDE)
    graph = chex_mm.trace_channels(model, image)
    budget = chex_mm.Budget('flops', keep=0.5)

    def step():
        explorer = chex_mm.ChannelExplorer(
            model, graph, budget, total_steps=10
        )
        start = time.process_time()
        explorer.step()
        return time.process_time() - start

    return min(step() for _ in range(repeats))


def table(head, found, exponent):
    """Prints rows of size, seconds, and how fast they grow."""
    print(f'{head:>24}{"CPU seconds":>14}{exponent:>18}')
    before = None
    for size, seconds in found:
        growth = ''
        if before:
            ratio = torch.tensor(seconds / before[1]).log2()
            growth = (
                f'{float(ratio / torch.tensor(size / before[0]).log2()):.2f}'
            )
        print(f'{size:24}{seconds:14.3f}{growth:>18}')
        before = size, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--threads', type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    repeats = arguments.repeats
    traced(5, 1)  # what the first call imports
    table(
        'layers of a chain',
        [(layers, traced(layers, repeats)) for layers in LAYERS],
        'local exponent',
    )
    table(
        'channels per group',
        [(width, explored(width, repeats)) for width in WIDTHS],
        'local exponent',
    )


if __name__ == '__main__':
    main()
