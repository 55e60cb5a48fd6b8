"""Small networks with their channel graphs written by hand.

One case per awkward layer; the graphs come from no tracer, so surgery is
tested by itself.
"""

from collections import defaultdict

import torch
import torch.nn.functional as F
from torch import nn

from chex_mm.graph.cost import Extent
from chex_mm.graph.graph import ChannelGraph
from chex_mm.graph.groups import ChannelGroup, Role, Slice


def part(tensor, dim, role, index=None):
    """A slice; `index` is filled in for channels that are positions."""
    return tensor, dim, Role(role), index


def vectors(path, index=None, statistics=False):
    """The slices of a norm layer."""
    names = {'weight': 'scale', 'bias': 'shift'}
    if statistics:
        names |= {'running_mean': 'statistic', 'running_var': 'statistic'}
    return [part(f'{path}.{n}', 0, role, index) for n, role in names.items()]


def rows(path, index=None, dim=0):
    """Weight rows and bias of the layer at `path`."""
    return [
        part(f'{path}.weight', dim, 'row', index),
        part(f'{path}.bias', 0, 'bias', index),
    ]


def columns(path, index=None, dim=1):
    """Weight columns of the layer at `path`."""
    return [part(f'{path}.weight', dim, 'column', index)]


def graph_of(model, groups, pinned=()):
    """The ChannelGraph of {name: (size, slices)}."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: tuple(t.shape) for name, t in tensors.items()}
    made, taken = {}, defaultdict(dict)
    for name, (size, parts) in groups.items():
        slices = []
        for tensor, dim, role, index in parts:
            index = torch.arange(size)[:, None] if index is None else index
            slices.append(Slice(tensor, dim, role, index))
            taken[tensor, dim][name] = index.shape[1]
        reason = 'pinned by hand' if name in pinned else None
        made[name] = ChannelGroup(name, size, tuple(slices), reason)
    extents = {}
    for (tensor, dim), members in taken.items():
        used = sum(n * made[name].size for name, n in members.items())
        extents[tensor, dim] = Extent(
            shapes[tensor][dim] - used, dict(members)
        )
    parameters = frozenset(dict(model.named_parameters()))
    return ChannelGraph(made, shapes, parameters, extents)


def random_keep(graph, seed):
    """Keeps about half of every free group, at least one channel."""
    generator = torch.Generator().manual_seed(seed)
    keep = {}
    for name, group in graph.free.items():
        mask = torch.rand(group.size, generator=generator) < 0.5
        mask[int(torch.randint(group.size, (), generator=generator))] = True
        keep[name] = mask
    return keep


def randomise(model):
    """Norms that are not the identity, biases that are not zero."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith('running_var'):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.is_floating_point() and tensor.dim() == 1:
            tensor.normal_(0.5, 0.5, generator=generator)
    return model.eval()


class Steps(nn.Sequential):
    """A chain whose layers carry names."""

    def __init__(self, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)


IMAGE = (2, 3, 6, 6)


def batch_norm(norm=nn.BatchNorm2d):
    model = Steps(one=nn.Conv2d(3, 8, 3), norm=norm(8), two=nn.Conv2d(8, 4, 3))
    parts = [*rows('one'), *vectors('norm', None, True), *columns('two')]
    return model, IMAGE, {'one': (8, parts)}


def sync_batch_norm():
    return batch_norm(nn.SyncBatchNorm)


def instance_norm():
    return batch_norm(
        lambda n: nn.InstanceNorm2d(n, affine=True, track_running_stats=True)
    )


def statistics_only():
    model, shape, groups = batch_norm(
        lambda n: nn.BatchNorm2d(n, affine=False)
    )
    size, parts = groups['one']
    parts = [p for p in parts if p[0] not in ('norm.weight', 'norm.bias')]
    return model, shape, {'one': (size, parts)}


def group_norm():
    model = Steps(
        one=nn.Conv2d(3, 12, 3),
        norm=nn.GroupNorm(4, 12),
        act=nn.SiLU(),
        two=nn.Conv2d(12, 4, 3),
    )
    index = torch.arange(12).view(4, 3)
    parts = [*rows('one', index), *vectors('norm', index)]
    return model, IMAGE, {'one': (4, [*parts, *columns('two', index)])}


def linear():
    model = Steps(
        one=nn.Linear(5, 8),
        slope=nn.PReLU(8),
        act=nn.Sigmoid(),  # not 0 at 0
        two=nn.Linear(8, 3),
    )
    slope = part('slope.weight', 0, 'value')
    return model, (4, 5), {'one': (8, [*rows('one'), slope, *columns('two')])}


class Recurrent(nn.Module):
    """A linear layer in front of a recurrent one."""

    def __init__(self, reader):
        super().__init__()
        self.one, self.two = nn.Linear(5, 8), reader

    def forward(self, x):
        out = self.two(self.one(x))
        return out[0] if isinstance(out, tuple) else out


def recurrent_layer():
    reads = part('two.weight_ih_l0', 1, 'column')
    groups = {'one': (8, [*rows('one'), reads])}
    return Recurrent(nn.LSTM(8, 3)), (4, 2, 5), groups


def recurrent_cell():
    reads = part('two.weight_ih', 1, 'column')
    groups = {'one': (8, [*rows('one'), reads])}
    return Recurrent(nn.GRUCell(8, 3)), (4, 5), groups


def grouped():
    model = Steps(
        one=nn.Conv2d(3, 8, 1),
        two=nn.Conv2d(8, 12, 3, groups=2),
        three=nn.Conv2d(12, 4, 1),
    )
    slots, outs = torch.arange(8).view(2, 4).T, torch.arange(12).view(2, 6).T
    groups = {
        'one': (4, [*rows('one', slots), *columns('two')]),
        'two': (6, [*rows('two', outs), *columns('three', outs)]),
    }
    return model, IMAGE, groups


def depthwise():
    model = Steps(
        one=nn.Conv2d(3, 4, 1),
        two=nn.Conv2d(4, 8, 3, groups=4),  # two outputs per channel
        three=nn.Conv2d(8, 4, 1),
    )
    pairs = torch.arange(8).view(4, 2)
    filters = [
        part('two.weight', 0, 'filter', pairs),
        part('two.bias', 0, 'bias', pairs),
    ]
    parts = [*rows('one'), *filters, *columns('three', pairs)]
    return model, IMAGE, {'one': (4, parts)}


def one_input_channel():
    model = Steps(one=nn.Conv2d(1, 8, 3), two=nn.Conv2d(8, 4, 3))
    groups = {'one': (8, [*rows('one'), *columns('two')])}
    return model, (2, 1, 6, 6), groups


def transposed():
    model = Steps(
        one=nn.Conv2d(3, 6, 1),
        two=nn.ConvTranspose2d(6, 8, 2, 2),
        three=nn.Conv2d(8, 4, 1),
    )
    groups = {
        'one': (6, [*rows('one'), *columns('two', dim=0)]),
        'two': (8, [*rows('two', dim=1), *columns('three')]),
    }
    return model, IMAGE, groups


def transposed_grouped():
    model = Steps(
        one=nn.Conv2d(3, 6, 1),
        two=nn.ConvTranspose2d(6, 8, 2, 2, groups=2, bias=False),
        three=nn.Conv2d(8, 4, 1),
    )
    slots, outs = torch.arange(6).view(2, 3).T, torch.arange(8).view(2, 4).T
    groups = {
        'one': (3, [*rows('one', slots), *columns('two', slots, dim=0)]),
        'two': (
            4,
            [part('two.weight', 1, 'row'), *columns('three', outs)],
        ),
    }
    return model, IMAGE, groups


def transposed_depthwise():
    model = Steps(
        one=nn.Conv2d(3, 6, 1),
        two=nn.ConvTranspose2d(6, 6, 2, 2, groups=6),
        three=nn.Conv2d(6, 4, 1),
    )
    filters = [part('two.weight', 0, 'filter'), part('two.bias', 0, 'bias')]
    parts = [*rows('one'), *filters, *columns('three')]
    return model, IMAGE, {'one': (6, parts)}


def flatten_linear():
    model = Steps(
        one=nn.Conv2d(3, 6, 3),
        flat=nn.Flatten(),
        two=nn.Linear(6 * 16, 3),
    )
    index = torch.arange(6 * 16).view(6, 16)
    return model, IMAGE, {'one': (6, [*rows('one'), *columns('two', index)])}


class Residual(nn.Module):
    """One stream that two layers write to, with a raw parameter on it."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.block = nn.Conv2d(8, 8, 3, padding=1)
        self.gamma = nn.Parameter(torch.ones(1, 8, 1, 1))
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.head(x + self.gamma * self.block(x).sigmoid())


def residual():
    parts = [*rows('stem'), *rows('block'), *columns('block')]
    parts += [part('gamma', 1, 'value'), *columns('head')]
    return Residual(), IMAGE, {'stem': (8, parts)}


class Concat(nn.Module):
    """Coordinates without channels before two kinds of features."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 4, 1)
        self.two = nn.Conv2d(3, 6, 1)
        self.head = nn.Conv2d(13, 4, 1)

    def forward(self, x):
        return self.head(torch.cat([x, self.one(x), self.two(x)], 1))


def concat():
    ahead, behind = torch.arange(3, 7)[:, None], torch.arange(7, 13)[:, None]
    groups = {
        'one': (4, [*rows('one'), *columns('head', ahead)]),
        'two': (6, [*rows('two'), *columns('head', behind)]),
    }
    return Concat(), IMAGE, groups


class Shared(nn.Module):
    """One layer called twice, and one parameter in two layers."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 8, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(2))
        self.tower = nn.Conv2d(8, 6, 3)
        self.again = self.tower
        self.twin = nn.Conv2d(8, 6, 3)
        self.twin.weight = self.tower.weight
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        first, second = (norm(self.one(x)) for norm in self.norms)
        out = self.tower(first) + self.again(second) + self.twin(second)
        return self.head(out)


def shared():
    norms = [*vectors('norms.0', None, True), *vectors('norms.1', None, True)]
    out = [*rows('tower'), part('twin.bias', 0, 'bias'), *columns('head')]
    groups = {
        'one': (8, [*rows('one'), *norms, *columns('tower')]),
        'tower': (6, out),
    }
    return Shared(), IMAGE, groups


class Table(nn.Module):
    """An embedding that a linear layer reads."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(5, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(F.relu(self.words.weight)) + x


def embedding():
    words = part('words.weight', 1, 'row')
    return Table(), (5, 3), {'words': (8, [words, *columns('head')])}


CASES = [
    batch_norm,
    sync_batch_norm,
    instance_norm,
    statistics_only,
    group_norm,
    linear,
    grouped,
    depthwise,
    one_input_channel,
    transposed,
    transposed_grouped,
    transposed_depthwise,
    flatten_linear,
    residual,
    concat,
    shared,
    embedding,
]


def build(case):
    """(randomised model, input, graph) of a case."""
    torch.manual_seed(0)
    model, shape, groups = case()
    return randomise(model), torch.randn(shape), graph_of(model, groups)
