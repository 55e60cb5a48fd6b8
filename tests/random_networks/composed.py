"""Blocks of well-known backbones and necks, made of several layers each."""

import torch
import torch.nn.functional as F
from torch import nn

from .block import Block, block, conv, rounded


@block('all')
class Ghost(Block):
    """Half of the map is computed cheaply from the other half."""

    def make(self, into, width):
        self.out = 2 * width
        self.a, self.cheap = (
            conv(into, width),
            conv(width, width, 3, groups=width),
        )

    def forward(self, x):
        y = self.a(x).relu()
        return torch.cat((y, self.cheap(y).relu()), 1)


@block('all')
class CrossStage(Block):
    """CSP: one half takes a long way."""

    def make(self, into, width):
        self.main, self.short = conv(into, width), conv(into, width)
        self.a, self.b = conv(width, width), conv(width, width, 3)
        self.join = conv(2 * width, width)

    def forward(self, x):
        y = self.main(x)
        y = y + self.b(self.a(y).relu())
        return self.join(torch.cat((y, self.short(x)), 1))


@block('all')
class C2f(Block):
    """Halves of a chunk, and everything that the second goes through."""

    def make(self, into, width):
        self.a, self.join = conv(into, 2 * width), conv(4 * width, width)
        self.inner = nn.ModuleList(conv(width, width, 3) for _ in range(2))

    def forward(self, x):
        parts = list(self.a(x).chunk(2, 1))
        for each in self.inner:
            parts.append(parts[-1] + each(parts[-1]).relu())
        return self.join(torch.cat(parts, 1))


@block('all')
class Elan(Block):
    def make(self, into, width):
        self.a, self.b = conv(into, width), conv(into, width)
        self.c, self.d = conv(width, width, 3), conv(width, width, 3)
        self.join = conv(4 * width, width)

    def forward(self, x):
        a, b = self.a(x), self.b(x).relu()
        c = self.c(b).relu()
        return self.join(torch.cat((a, b, c, self.d(c)), 1))


@block('either')
class Res2Net(Block):
    """Pieces of a constant width, each added to the next."""

    def make(self, into, width):
        self.width = rounded(width, 3) // 3
        self.a, self.b = (
            conv(into, 3 * self.width),
            conv(3 * self.width, width),
        )
        self.inner = nn.ModuleList(
            conv(self.width, self.width, 3) for _ in range(2)
        )

    def forward(self, x):
        parts = self.a(x).relu().split(self.width, 1)
        first = self.inner[0](parts[0])
        second = self.inner[1](first + parts[1])
        return self.b(torch.cat((first, second, parts[2]), 1))


@block('all')
class ShuffleUnit(Block):
    """ShuffleNetV2: half of the channels pass by, then all are shuffled."""

    def make(self, into, width):
        self.out = rounded(width, 2)
        half = self.out // 2
        self.first, self.a = conv(into, self.out), conv(half, half)
        self.deep = conv(half, half, 3, groups=half)

    def forward(self, x):
        left, right = self.first(x).chunk(2, 1)
        right = self.deep(self.a(right).relu())
        n, c, h, w = right.shape
        both = torch.stack((left, right), 2)
        return both.reshape(n, 2 * c, h, w)


@block('all')
class InvertedResidual(Block):
    """MobileNetV3: wide, depthwise, weighed, narrow."""

    def make(self, into, width):
        self.out, wide = into, 2 * width
        self.up, self.down = conv(into, wide), conv(wide, into)
        self.deep = conv(wide, wide, 3, groups=wide)
        self.norm = nn.BatchNorm2d(wide)
        self.squeeze, self.excite = conv(wide, 3), conv(3, wide)

    def forward(self, x):
        y = F.hardswish(self.norm(self.deep(self.up(x))))
        seen = self.squeeze(F.adaptive_avg_pool2d(y, 1)).relu()
        return x + self.down(y * F.hardsigmoid(self.excite(seen)))


@block('all')
class TopDown(Block):
    """A small pyramid: levels are joined and one head sees both."""

    def make(self, into, width):
        self.deep = conv(into, width, 3, stride=2)
        self.lateral, self.top = conv(into, width), conv(width, width)
        self.smooth = conv(width, width, 3)

    def forward(self, x):
        top = self.top(self.deep(x).relu())
        x = self.lateral(x) + F.interpolate(top, scale_factor=2)
        return self.smooth(x) + F.interpolate(self.smooth(top), scale_factor=2)


@block('all')
class HighResolution(Block):
    """HRNet: two sizes, each with the sum of both."""

    def make(self, into, width):
        self.a, self.b = conv(into, width), conv(into, width, 3, stride=2)
        self.up, self.down = (
            conv(width, width),
            conv(width, width, 3, stride=2),
        )

    def forward(self, x):
        large, small = self.a(x).relu(), self.b(x).relu()
        small, large = (
            small + self.down(large),
            large + F.interpolate(self.up(small), scale_factor=2),
        )
        return large + F.interpolate(small, scale_factor=2)


@block('all')
class TimeShift(Block):
    """Recurrent: one convolution is used again with its own output."""

    def make(self, into, width):
        self.first, self.again = conv(into, width), conv(2 * width, width)

    def forward(self, x):
        seen = self.first(x)
        state = torch.zeros_like(seen)
        for _ in range(2):
            state = self.again(torch.cat((seen, state), 1)).tanh()
        return state


@block('all')
class OctaveConv(Block):
    """Channels of two frequencies talk to each other."""

    def make(self, into, width):
        self.out = 2 * width
        self.high, self.low = conv(into, width), conv(into, width)
        self.up, self.down = conv(width, width), conv(width, width)

    def forward(self, x):
        high, low = self.high(x), self.low(F.avg_pool2d(x, 2))
        new_high = high + F.interpolate(self.up(low), scale_factor=2)
        new_low = low + self.down(F.avg_pool2d(high, 2))
        return torch.cat((new_high, F.interpolate(new_low, scale_factor=2)), 1)


@block('all')
class FlatAndBack(Block):
    """Linear layers on the flattened map."""

    def make(self, into, width):
        self.a = conv(into, width)
        self.down, self.up = nn.Linear(4 * width, 5), nn.Linear(5, width)

    def forward(self, x):
        y = self.a(x)
        flat = F.adaptive_max_pool2d(y, 2).flatten(1)
        return y * self.up(self.down(flat).relu())[..., None, None]


@block('all')
class RegionHead(Block):
    """A layer on the positions that were selected: here none."""

    def make(self, into, width):
        self.a, self.head = conv(into, width), nn.Linear(width, 4)
        self.last = nn.Linear(4, 1)

    def forward(self, x):
        y = self.a(x)
        found = (y.detach().sum(1).flatten() > 1e9).nonzero()[:, 0]
        chosen = y.flatten(2).mT.flatten(0, 1)[found]
        return y + self.last(self.head(chosen).relu()).sum()


@block('all')
class NoImages(Block):
    """A convolution on an empty batch."""

    def make(self, into, width):
        self.a, self.b = conv(into, width), conv(into, 4, 3)

    def forward(self, x):
        return self.a(x) + self.b(x[:0]).relu().sum()
