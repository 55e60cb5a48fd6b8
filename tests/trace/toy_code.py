"""Toy networks whose forward code is awkward: sizes in Python, writes."""

import torch
import torch.nn.functional as F
from torch import nn

from .toy_networks import conv, toy


@toy(
    {'a#2': '8: a:0 a.bias:0 c:1', 'b': '3: b:0 b.bias:0 d:1'},
    pinned={'a': 'a size is written in Python'},
)
class ConstantSlice(nn.Module):
    """Only the twelve channels of the slice are fixed."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 20), conv(12, 3)
        self.c, self.d = conv(20, 2), conv(3, 2)

    def forward(self, x):
        x = self.a(x)
        return self.c(x), self.d(self.b(x[:, :12]))


@toy({'b': '3: b:0 b.bias:0 c:1'}, pinned={'a': 'a size is written in Python'})
class ConstantSplit(nn.Module):
    """Res2Net's `split(self.width)`."""

    def __init__(self):
        super().__init__()
        self.width = 4
        self.a, self.b, self.c = conv(3, 8), conv(4, 3), conv(7, 2)

    def forward(self, x):
        left, right = self.a(x).split(self.width, 1)
        return self.c(torch.cat((self.b(left), right), 1))


@toy({}, pinned={'a': 'a size is written in Python'})
class ConstantView(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 32), conv(32, 2)

    def forward(self, x):
        x = self.a(x)
        b, _, h, w = x.shape
        return self.b(x.view(b, 8, 4, h, w).transpose(1, 2).flatten(1, 2))


@toy({'a': '4: a:0*2 a.bias:0*2 b:1'})
class ConstantSlots(nn.Module):
    """`view(b, 2, -1)` leaves the slots of each of two rows free."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 8), conv(4, 2)

    def forward(self, x):
        x = self.a(x)
        b, _, h, w = x.shape
        return self.b(x.view(b, 2, -1, h, w).sum(1))


@toy({'a': '4: a:0*2 a.bias:0*2 b:1*2'})
class ConstantRows(nn.Module):
    """`view(b, -1, 2)` leaves whole rows of two free."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 8), conv(8, 2)

    def forward(self, x):
        x = self.a(x)
        b, _, h, w = x.shape
        return self.b(x.view(b, -1, 2, h, w).transpose(1, 2).flatten(1, 2))


@toy({'a': '4: a:0*2 a.bias:0*2 b:1 c:1'})
class Halves(nn.Module):
    """`x[:, :c // 2]`: the halves must stay equal."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(4, 2), conv(4, 2)

    def forward(self, x):
        x = self.a(x)
        half = x.shape[1] // 2
        return self.b(x[:, :half]), self.c(x[:, half:])


@toy({'a': '8: a:0 a.bias:0 c:1'}, pinned={'a#2': 'a size is written'})
class ConstantRest(nn.Module):
    """The last four of twelve: `x[:, -4:]`."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 12), conv(4, 2), conv(12, 2)

    def forward(self, x):
        x = self.a(x)
        return self.c(x), self.b(x[:, -4:])


@toy({'a': '4: a:0*2 a.bias:0*2 b:0 b.bias:0 c:1*2'})
class WriteIntoView(nn.Module):
    """What is overwritten has the width of what is written."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(3, 4), conv(8, 2)

    def forward(self, x):
        y = self.a(x)
        y[:, : y.shape[1] // 2] = self.b(x)
        return self.c(y)


@toy(
    {'a': '3: a:0 a.bias:0 c:1', 'b': '5: b:0 b.bias:0 c:1'},
)
class WriteIntoEmpty(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 3), conv(3, 5), conv(8, 2)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        n, c, h, w = a.shape
        y = a.new_zeros(n, c + b.shape[1], h, w)
        y[:, :c] = a
        y[:, c:] = b
        return self.c(y)


@toy({'a': '4: a:0*2 a.bias:0*2 b:1*2'})
class InPlaceOnChunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 8), conv(8, 2)

    def forward(self, x):
        x = self.a(x)
        left, right = x.chunk(2, 1)
        left.relu_()
        right.sigmoid_()
        return self.b(x)


@toy({'a': '4: a:0 a.bias:0 b:1'})
class NeverUsed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 2)
        self.spare = nn.Sequential(conv(4, 4), nn.BatchNorm2d(4))

    def forward(self, x):
        return self.b(self.a(x))


@toy({'a': '4: a:0 a.bias:0 b:1'})
class SumTimesZero(nn.Module):
    """The idiom that keeps unused parameters in the graph."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 2)

    def forward(self, x):
        x = self.a(x)
        return self.b(x), x.sum() * 0


@toy({'a#2': '4: a:0 a.bias:0 b:1'}, pinned={'a': 'broadcast over channels'})
class BroadcastChannel(nn.Module):
    """`features * features[:, :1]`: the first channel is in all others."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 5), conv(5, 2)

    def forward(self, x):
        x = self.a(x)
        return self.b(x * x[:, :1])


@toy({'a': '4: a:0 a.bias:0 slope:0 scale:0 b:1'})
class Vectors(nn.Module):
    """A slope and a layer scale per channel."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 2)
        self.slope = nn.PReLU(4)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        return self.b(self.slope(self.a(x)) * self.scale)


@toy({'a': '4: a:0 a.bias:0 b:1*81'})
class DropoutAndPadding(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), nn.Linear(324, 2)
        self.drop = nn.Dropout2d()

    def forward(self, x):
        x = F.pad(self.drop(self.a(x)), (0, 1, 0, 1), value=1.0)
        return self.b(x.flatten(1))


@toy({'a': '4: a:0 a.bias:0 b:1'}, pinned={'b.input': 'fixed size'})
class ChannelPadding(nn.Module):
    """Zeros behind the channels are no channels."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(6, 2)

    def forward(self, x):
        return self.b(F.pad(self.a(x), (0, 0, 0, 0, 0, 2)))
