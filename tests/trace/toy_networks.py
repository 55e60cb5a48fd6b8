"""Toy networks, one per awkward case, that carry their groups as a literal.

`groups` lists every free group, as `size: places`; a place is a parameter or
buffer and the dimension to cut, with `*n` where each channel has n positions.
`.weight` is left out, and `norm` stands for all four vectors of a batch norm.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

TOYS = {}


@dataclass(frozen=True)
class Toy:
    """A network, an input of it and the channels that it should have."""

    network: type
    groups: dict
    shape: tuple = (2, 3, 8, 8)
    pinned: dict = field(default_factory=dict)  # group: part of the reason

    def build(self):
        """The network with random weights and statistics, in eval mode."""
        torch.manual_seed(0)
        model = self.network().eval()
        for name, tensor in model.state_dict().items():
            if name.endswith(('running_var', 'scale')):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(-0.5, 0.5)
        return model, torch.randn(self.shape)


def toy(groups, shape=(2, 3, 8, 8), pinned=None):
    """Enters a network into TOYS."""

    def enter(network):
        TOYS[network.__name__] = Toy(network, groups, shape, pinned or {})
        return network

    return enter


def conv(into, out, kernel=1, **settings):
    return nn.Conv2d(into, out, kernel, padding=kernel // 2, **settings)


@toy({'a': '4: a:0 a.bias:0 norm b:1'}, pinned={'b': 'it leaves the model'})
class ConvNormConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = (
            conv(3, 4, 3),
            nn.BatchNorm2d(4),
            conv(4, 8),
        )

    def forward(self, x):
        return self.b(self.norm(self.a(x)).relu())


@toy(
    {
        'a': '4: a:0 a.bias:0 c:0 c.bias:0 b:1 d:1',
        'b': '6: b:0 b.bias:0 c:1',
    }
)
class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 6)
        self.c, self.d = conv(6, 4), conv(4, 2)

    def forward(self, x):
        x = self.a(x)
        return self.d((x + self.c(self.b(x).relu())).relu_())


@toy({'a': '4: a:0 a.bias:0 c:1', 'b': '5: b:0 b.bias:0 c:1'})
class Concat(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(3, 5), conv(9, 2)

    def forward(self, x):
        return self.c(torch.cat((self.a(x), self.b(x)), 1))


@toy(
    {
        'a': '4: a:0*2 a.bias:0*2 c:0 c.bias:0 b:1 d:1*2',
        'b': '6: b:0 b.bias:0 c:1',
    }
)
class CrossStage(nn.Module):
    """CSP: one half goes through a residual branch, then both are joined."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 8), conv(4, 6)
        self.c, self.d = conv(6, 4), conv(8, 2)

    def forward(self, x):
        left, right = self.a(x).chunk(2, 1)
        return self.d(torch.cat((left + self.c(self.b(left)), right), 1))


@toy({'a': '4: a:0 a.bias:0 deep:0 deep.bias:0 norm b:1'})
class Depthwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.deep = conv(3, 4), conv(4, 4, 3, groups=4)
        self.norm, self.b = nn.BatchNorm2d(4), conv(4, 2)

    def forward(self, x):
        return self.b(self.norm(self.deep(self.a(x))))


@toy(
    {
        'a': '4: a:0*2 a.bias:0*2 b:1',
        'b': '3: b:0*2 b.bias:0*2 c:1*2',
    }
)
class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(8, 6, groups=2), conv(6, 2)

    def forward(self, x):
        return self.c(self.b(self.a(x)))


@toy({'a': '4: a:0 a.bias:0 b:0', 'b': '5: b:1 b.bias:0 c:1'})
class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.c = conv(3, 4), conv(5, 2)
        self.b = nn.ConvTranspose2d(4, 5, 2, 2)

    def forward(self, x):
        return self.c(self.b(self.a(x)))


@toy(
    {
        'a': '4: a:0*2 a.bias:0*2 b:0*2',
        'b': '3: b:1 b.bias:0*2 c:1*2',
    }
)
class TransposedGrouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.c = conv(3, 8), conv(6, 2)
        self.b = nn.ConvTranspose2d(8, 6, 2, 2, groups=2)

    def forward(self, x):
        return self.c(self.b(self.a(x)))


@toy({'a': '4: a:0 a.bias:0 b:0 b.bias:0 c:1'})
class TransposedDepthwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.c = conv(3, 4), conv(4, 2)
        self.b = nn.ConvTranspose2d(4, 4, 2, 2, groups=4)

    def forward(self, x):
        return self.c(self.b(self.a(x)))


@toy({'a': '4: a:0*2 a.bias:0*2 norm:0*2 norm.bias:0*2 b:1*2'})
class GroupNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = conv(3, 8), nn.GroupNorm(4, 8), conv(8, 2)

    def forward(self, x):
        return self.b(self.norm(self.a(x)))


@toy({'a': '4: a:0 a.bias:0 b:1*16', 'b': '6: b:0 b.bias:0 c:1'})
class Flattened(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), nn.Linear(64, 6), nn.Linear(6, 2)

    def forward(self, x):
        x = F.max_pool2d(self.a(x), 2).flatten(1)
        return self.c(self.b(x).relu())


@toy(
    {
        'a': '4: a:0 a.bias:0 b:0 b.bias:0 head:1 b:1',
        'head': '5: head:0 head.bias:0 out:1',
    }
)
class SharedHead(nn.Module):
    """One head over two levels: their widths are one."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 4, stride=2)
        self.head, self.out = conv(4, 5), conv(5, 2)

    def forward(self, x):
        low = self.a(x)
        return [self.out(self.head(y).relu()) for y in (low, self.b(low))]


@toy({'a': '4: a:0 a.bias:0 b.bias:0 c:1'})
class SharedWeight(nn.Module):
    """Two convolutions with one weight: its tensor has two names."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(3, 4), conv(4, 2)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.c(self.a(x) + self.b(x * 2))


@toy({'a': '4: a:0*2 a.bias:0*2 b:1*2'})
class ChannelShuffle(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 8), conv(8, 2)

    def forward(self, x):
        x = self.a(x)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.b(x)


@toy({'a': '2: a:0*4 a.bias:0*4 b:1'})
class PixelShuffle(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 8), conv(2, 2)

    def forward(self, x):
        return self.b(F.pixel_shuffle(self.a(x), 2))


@toy(
    {
        'a': '4: a:0 a.bias:0 up:0 up.bias:0 down:1 b:1',
        'down': '3: down:0 down.bias:0 up:1',
    }
)
class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 2)
        self.down, self.up = conv(4, 3), conv(3, 4)

    def forward(self, x):
        x = self.a(x)
        gate = self.up(F.silu(self.down(F.adaptive_avg_pool2d(x, 1))))
        return self.b(x * gate.sigmoid())


@toy({'a': '2: a:0 a.bias:0 b:1'}, pinned={'b.input': 'fixed size'})
class Coordinates(nn.Module):
    """The features' columns are 3 and 4; xyz has no channels."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 2), conv(5, 4)

    def forward(self, x):
        return self.b(torch.cat((x, self.a(x)), 1))


@toy(
    {
        'a': '4: a:0 a.bias:0 b:1 c:1 d:1',
        'b': '3: b:0 b.bias:0 c:1 d:1',
        'c': '3: c:0 c.bias:0 d:1',
    }
)
class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 3)
        self.c, self.d = conv(7, 3), conv(10, 2)

    def forward(self, x):
        found = [self.a(x)]
        for layer in (self.b, self.c):
            found.append(layer(torch.cat(found, 1)).relu())
        return self.d(torch.cat(found, 1))


@toy({'b': '6: b:0 b.bias:0 c:1'}, (2, 5, 3), {'a': 'normalises'})
class LayerNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Linear(3, 4), nn.LayerNorm(4)
        self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.c(F.gelu(self.b(self.norm(self.a(x)))))


@toy(
    {'b': '6: b:0 b.bias:0 c:1'},
    (2, 5, 3),
    {'a': 'contracts over channels'},
)
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.b, self.c = nn.Linear(8, 6), nn.Linear(6, 2)

    def forward(self, x):
        x = self.a(x)
        x = x + self.attention(x, x, x)[0]
        return self.c(self.b(x).relu())
