"""Toy networks whose modules share, repeat, pick or leave out parameters."""

import torch
import torch.nn.functional as F
from torch import nn

from .toy_networks import conv, toy


@toy({'a': '4: a:0 a.bias:0 again:0 again.bias:0 again:1 b:1'})
class CalledSeveralTimes(nn.Module):
    """What a layer gives it takes as well."""

    def __init__(self):
        super().__init__()
        self.a, self.again, self.b = conv(3, 4), conv(4, 4, 3), conv(4, 2)

    def forward(self, x):
        x = self.a(x)
        for _ in range(3):
            x = self.again(x).relu()
        return self.b(x)


@toy(
    {
        'a': '4: a:0 a.bias:0 stages.0.0:1',
        'stages.0.0': '5: stages.0.0:0 stages.0.0.bias:0 b:1',
    }
)
class SharedModule(nn.Module):
    """One module under two names."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(5, 2)
        layer = conv(4, 5)
        self.stages = nn.ModuleList(
            (nn.Sequential(layer), nn.Sequential(layer, nn.ReLU()))
        )

    def forward(self, x):
        x = self.a(x)
        return self.b(self.stages[0](x)), self.b(self.stages[1](x))


@toy(
    {
        'layers.0': '4: layers.0:0 layers.0.bias:0 heads.1:1',
        'layers.2': '6: layers.2:0 layers.2.bias:0 heads.0:1',
    }
)
class Indexed(nn.Module):
    """Lists of modules, taken by number, from the end and by a slice."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(conv(3, n) for n in (4, 5, 6))
        self.heads = nn.ModuleList((conv(6, 2), conv(4, 2)))

    def forward(self, x):
        last = self.layers[-1](x)
        first = [layer(x) for layer in self.layers[:1]]
        return self.heads[0](last), self.heads[1](first[0])


@toy(
    {
        'table#2': '4: table:1 b:1 c:0 c.bias:0',
        'b': '5: b:0 b.bias:0 c:1',
    },
    (2, 3),
    pinned={'table': 'picks rows by data'},
)
class TiedTable(nn.Module):
    """A table that embeds words and tells them apart: one weight."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
        self.out.weight = self.table.weight
        self.b, self.c = nn.Linear(4, 5), nn.Linear(5, 4)

    def forward(self, x):
        x = self.table((x.abs() * 2).long().clamp(max=5))
        return self.out(self.c(self.b(x).relu()))


@toy({'a': '4: a:0 a.bias:0 mean:1 seen:0 b:1'})
class Centred(nn.Module):
    """Buffers along channels, one of them written while the model runs."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 2)
        self.register_buffer('mean', torch.randn(1, 4, 1, 1))
        self.register_buffer('seen', torch.zeros(4))

    def forward(self, x):
        x = self.a(x)
        self.seen.mul_(0.9).add_(x.mean((0, 2, 3)), alpha=0.1)
        return self.b((x - self.mean).relu())


@toy({'a': '4: a:0*2 a.bias:0*2 b:0 b.bias:0 c:1*2'})
class WriteIntoStrides(nn.Module):
    """Every other channel is written over, the rest in place."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(3, 4), conv(8, 2)

    def forward(self, x):
        y = self.a(x)
        y[:, ::2] = self.b(x)
        y[:, 1::2].sigmoid_()
        return self.c(y)


@toy({}, pinned={'a': 'takes every so many channels'})
class UnevenStrides(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 7), conv(4, 2)

    def forward(self, x):
        return self.b(self.a(x)[:, ::2])


@toy({'b': '5: b:0 b.bias:0 c:1'}, pinned={'a': 'reduces over channels'})
class BranchOnChannels(nn.Module):
    """Which way it goes depends on all channels together."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(4, 5), conv(5, 2)
        self.other = conv(4, 5)

    def forward(self, x):
        x = self.a(x)
        x = self.b(x) if x.mean() < 1e9 else self.other(x)
        return self.c(F.relu(x))
