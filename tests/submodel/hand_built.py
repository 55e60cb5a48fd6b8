"""Toy networks with their channel graphs written by hand.

The literals are the oracle: nothing here is traced.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from chex_mm.graph.cost import Extent, Work
from chex_mm.graph.graph import ChannelGraph
from chex_mm.graph.groups import ChannelGroup, Role, Slice

OUTPUT = 'leaves the model'


def group(name, size, *pieces, pinned=None):
    """A group from ('tensor', dim, 'role'[, members]) tuples."""
    slices = []
    for tensor, dim, role, *members in pieces:
        each = members[0] if members else 1
        index = torch.arange(size * each).view(size, each)
        slices.append(Slice(tensor, dim, Role(role), index))
    return ChannelGroup(name, size, tuple(slices), pinned)


def graph_of(model, groups, work=()):
    """The graph of `groups`; work: (module, each, rows, columns) groups."""
    groups = {g.name: g for g in groups}
    shapes = {n: tuple(t.shape) for n, t in model.state_dict().items()}
    per_channel = {}
    for g in groups.values():
        for s in g.slices:
            each = per_channel.setdefault((s.tensor, s.dim), {})
            each[g.name] = s.index.shape[1]
    extents = {
        (tensor, dim): Extent(
            shapes[tensor][dim]
            - sum(m * groups[n].size for n, m in each.items()),
            each,
        )
        for (tensor, dim), each in per_channel.items()
    }
    return ChannelGraph(
        groups=groups,
        shapes=shapes,
        parameters=frozenset(n for n, _ in model.named_parameters()),
        extents=extents,
        work=tuple(
            Work(
                module,
                'conv',
                each,
                extents[f'{module}.weight', 0],
                extents.get(
                    (f'{module}.weight', 1),
                    Extent(shapes[f'{module}.weight'][1]),
                ),
            )
            for module, each in work
        ),
    )


def norm(name):
    """The four vectors of a batch norm."""
    return (
        (f'{name}.weight', 0, 'scale'),
        (f'{name}.bias', 0, 'shift'),
        (f'{name}.running_mean', 0, 'statistic'),
        (f'{name}.running_var', 0, 'statistic'),
    )


class Chain(nn.Module):
    """Conv-BN-ReLU, Conv-BN-ReLU, pool, Linear."""

    def __init__(self, first=8, second=12):
        super().__init__()
        self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(second)
        self.fc = nn.Linear(second, 4)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))

    def graph(self):
        first, second = self.conv1.out_channels, self.conv2.out_channels
        return graph_of(
            self,
            [
                group(
                    'conv1',
                    first,
                    ('conv1.weight', 0, 'row'),
                    *norm('bn1'),
                    ('conv2.weight', 1, 'column'),
                ),
                group(
                    'conv2',
                    second,
                    ('conv2.weight', 0, 'row'),
                    ('conv2.bias', 0, 'bias'),
                    *norm('bn2'),
                    ('fc.weight', 1, 'column'),
                ),
                group(
                    'fc',
                    4,
                    ('fc.weight', 0, 'row'),
                    ('fc.bias', 0, 'bias'),
                    pinned=OUTPUT,
                ),
            ],
            [('conv1', 9 * 64), ('conv2', 9 * 64), ('fc', 1)],
        )


class Residual(nn.Module):
    """A residual block, then a linear layer on the flattened 2x2 map."""

    def __init__(self, stream=8, inner=8):
        super().__init__()
        self.stem = nn.Conv2d(3, stream, 1, bias=False)
        self.bn0 = nn.BatchNorm2d(stream)
        self.conv1 = nn.Conv2d(stream, inner, 3, padding=1)
        self.conv2 = nn.Conv2d(inner, stream, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(stream)
        self.fc = nn.Linear(4 * stream, 2)

    def forward(self, x):
        x = F.relu(self.bn0(self.stem(x)))
        x = F.relu(x + self.bn2(self.conv2(F.relu(self.conv1(x)))))
        return self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))

    def graph(self):
        stream, inner = self.stem.out_channels, self.conv1.out_channels
        return graph_of(
            self,
            [
                group(
                    'stem',
                    stream,
                    ('stem.weight', 0, 'row'),
                    *norm('bn0'),
                    ('conv1.weight', 1, 'column'),
                    ('conv2.weight', 0, 'row'),
                    *norm('bn2'),
                    ('fc.weight', 1, 'column', 4),
                ),
                group(
                    'conv1',
                    inner,
                    ('conv1.weight', 0, 'row'),
                    ('conv1.bias', 0, 'bias'),
                    ('conv2.weight', 1, 'column'),
                ),
                group(
                    'fc',
                    2,
                    ('fc.weight', 0, 'row'),
                    ('fc.bias', 0, 'bias'),
                    pinned=OUTPUT,
                ),
            ],
            [('stem', 64), ('conv1', 9 * 64), ('conv2', 9 * 64), ('fc', 1)],
        )


def bit_equal(one, other):
    """Whether two dicts of tensors agree in every bit."""
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one
    )
