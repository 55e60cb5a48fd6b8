"""Random networks of many kinds of blocks, drawn by hypothesis.

A block takes `into` channels and says in `out` how many it gives.
"""

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

BLOCKS = {}


def block(cls):
    """Enters a block into BLOCKS."""
    BLOCKS[cls.__name__] = cls
    return cls


def conv(into, out, kernel=1, **settings):
    return nn.Conv2d(into, out, kernel, padding=kernel // 2, **settings)


def even(into):
    return into - into % 2


class Block(nn.Module):
    """A block of `width` inner channels."""

    def __init__(self, into, width):
        super().__init__()
        self.out = width
        self.make(into, width)


@block
class Plain(Block):
    def make(self, into, width):
        self.conv, self.norm = conv(into, width, 3), nn.BatchNorm2d(width)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


@block
class Grouped(Block):
    def make(self, into, width):
        self.out = even(width)
        self.a, self.b = (
            conv(into, self.out),
            conv(self.out, self.out, 3, groups=2),
        )

    def forward(self, x):
        return F.silu(self.b(self.a(x)))


@block
class Depthwise(Block):
    def make(self, into, width):
        self.out = into
        self.deep = conv(into, into, 3, groups=into, bias=False)
        self.norm = nn.BatchNorm2d(into)

    def forward(self, x):
        return F.hardswish(self.norm(self.deep(x)))


@block
class GroupNorm(Block):
    def make(self, into, width):
        self.out = even(width)
        self.conv = conv(into, self.out)
        self.norm = nn.GroupNorm(self.out // 2, self.out)

    def forward(self, x):
        return torch.sigmoid(self.norm(self.conv(x)))


@block
class Residual(Block):
    def make(self, into, width):
        self.out = into
        self.a, self.norm, self.b = (
            conv(into, width),
            nn.BatchNorm2d(width),
            conv(width, into),
        )

    def forward(self, x):
        return x + self.b(self.norm(self.a(x)).sigmoid())


@block
class Concat(Block):
    def make(self, into, width):
        self.out = into + width
        self.a = conv(into, width, 3)

    def forward(self, x):
        return torch.cat((self.a(x), x), 1)


@block
class Split(Block):
    def make(self, into, width):
        half = max(width // 2, 1)
        self.out = 2 * half
        self.a, self.b = conv(into, self.out), conv(half, half)

    def forward(self, x):
        left, right = self.a(x).chunk(2, 1)
        return torch.cat((left, self.b(right).relu()), 1)


@block
class ConstantSlice(Block):
    def make(self, into, width):
        self.out = into + width
        self.taken = max(into // 3, 1)
        self.a = conv(self.taken, width)

    def forward(self, x):
        return torch.cat((x, self.a(x[:, : self.taken])), 1)


@block
class Shuffle(Block):
    def make(self, into, width):
        self.out = even(width)
        self.a = conv(into, self.out)

    def forward(self, x):
        x = self.a(x)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


@block
class PixelShuffle(Block):
    def make(self, into, width):
        self.out = max(width // 4, 1)
        self.a = conv(into, 4 * self.out, stride=2)

    def forward(self, x):
        return F.pixel_shuffle(self.a(x), 2)


@block
class Transposed(Block):
    def make(self, into, width):
        self.a = nn.ConvTranspose2d(into, width, 2, 2)

    def forward(self, x):
        return F.max_pool2d(self.a(x).relu(), 2)


@block
class Gate(Block):
    def make(self, into, width):
        self.out = into
        self.down, self.up = conv(into, width), conv(width, into)

    def forward(self, x):
        gate = self.up(self.down(x.mean((2, 3), keepdim=True)).relu())
        return x * gate.sigmoid()


@block
class Shared(Block):
    def make(self, into, width):
        self.out = into
        self.conv = conv(into, into, 3)

    def forward(self, x):
        return self.conv(self.conv(x).relu())


@block
class WithCoordinates(Block):
    def make(self, into, width):
        self.a = conv(into + 2, width)

    def forward(self, x):
        n, _, h, w = x.shape
        places = torch.linspace(-1, 1, h * w).view(1, 1, h, w)
        return self.a(torch.cat((places.expand(n, 2, h, w), x), 1))


class Network(nn.Module):
    """Blocks one after the other; features and a flattened vector leave."""

    def __init__(self, names, widths):
        super().__init__()
        self.blocks, into = nn.ModuleList(), 3
        self.stem = conv(3, 6)
        into = 6
        for name, width in zip(names, widths):
            self.blocks.append(BLOCKS[name](into, width))
            into = self.blocks[-1].out
        self.head = conv(into, 5)
        self.hidden, self.last = nn.Linear(16 * into, 7), nn.Linear(7, 2)

    def forward(self, x):
        x = self.stem(x)
        for each in self.blocks:
            x = each(x)
        flat = F.adaptive_avg_pool2d(x, 4).flatten(1)
        return (
            [self.head(x), self.head(F.avg_pool2d(x, 2))],
            self.last(self.hidden(flat).relu()),
        )


@st.composite
def networks(draw):
    """A network in eval mode with random weights and statistics."""
    names = draw(
        st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=5)
    )
    widths = draw(
        st.lists(st.integers(3, 12), min_size=len(names), max_size=len(names))
    )
    seed = draw(st.integers(0, 99))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return randomised(Network(names, widths).eval())


def randomised(model):
    """The model with weights and statistics that are nowhere neutral."""
    for name, tensor in model.state_dict().items():
        if name.endswith('running_var'):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.uniform_(-0.5, 0.5)
    return model
