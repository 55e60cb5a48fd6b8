"""Blocks that weigh channels or positions by what they see.

A weight that is spread over channels is no channel itself.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .block import Block, between, block, conv, rounded


@block(16)
class WeightsFirst(Block):
    """BiFPN: learned numbers times maps, the number first.

    The two numbers are no channels, so that they stay.
    """

    def make(self, into, width):
        self.a, self.b = conv(into, width), conv(into, width, 3)
        self.shares = nn.Parameter(torch.rand(2) + 0.1)

    def forward(self, x):
        shares = self.shares.relu()
        shares = shares / (shares.sum() + 1e-4)
        return shares[0] * self.a(x) + shares[1] * self.b(x)


@block('all')
class NumberFirst(Block):
    def make(self, into, width):
        self.a = conv(into, width)
        self.scale, self.shift = (
            nn.Parameter(torch.rand(1)),
            nn.Parameter(torch.rand(())),
        )

    def forward(self, x):
        return self.scale * self.a(x) + self.shift


@block(16)
class GateOfTwo(Block):
    """A computed gate of one channel is spread over all, itself first."""

    def make(self, into, width):
        self.a, self.b = conv(into, width), conv(into, width)
        self.gate = nn.Linear(width, 2)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        gate = self.gate(a.mean((2, 3))).softmax(1)[..., None, None]
        return gate[:, :1] * a + gate[:, 1:] * b


@block(16)
class GateFirst(Block):
    """The gate is spread over channels that are summed with others."""

    def make(self, into, width):
        self.a, self.b = conv(into, width), conv(into, width)
        self.gate = nn.Linear(width, 2)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        gate = self.gate(a.mean((2, 3))).sigmoid()[..., None, None]
        return gate[:, :1] * a + a + b


@between('either')
def first_channel_is_the_gate(y):
    return y[:, :1].sigmoid() * y


@block(8)
class SpatialGate(Block):
    """CBAM: mean and maximum over channels make a map of weights."""

    def make(self, into, width):
        self.out = into
        self.inner, self.back = conv(into, width), conv(width, into)
        self.mix = conv(2, 1, 3)

    def forward(self, x):
        pooled = x.amax((2, 3), keepdim=True) + x.mean((2, 3), keepdim=True)
        x = x * self.back(self.inner(pooled).relu()).sigmoid()
        seen = x.mean(1, keepdim=True), x.amax(1, keepdim=True)
        return x * self.mix(torch.cat(seen, 1)).sigmoid()


@block('all')
class PixelAttention(Block):
    def make(self, into, width):
        self.a, self.gate = conv(into, width, 3), conv(into, width)

    def forward(self, x):
        return self.a(x) * self.gate(x).sigmoid()


@block('all')
class PositionGate(Block):
    """One map of weights, computed from all channels."""

    def make(self, into, width):
        self.a, self.gate = conv(into, width), conv(width, 1)

    def forward(self, x):
        y = self.a(x)
        return y * self.gate(y.relu()).sigmoid()


@block('all')
class Coordinates(Block):
    """Coordinate attention: rows and columns are pooled apart."""

    def make(self, into, width):
        self.out = into
        self.shared = conv(into, width)
        self.rows, self.columns = conv(width, into), conv(width, into)

    def forward(self, x):
        h, w = x.shape[2:]
        both = torch.cat((x.mean(3, True), x.mean(2, True).mT), 2)
        rows, columns = F.hardswish(self.shared(both)).split((h, w), 2)
        gate = self.rows(rows).sigmoid() * self.columns(columns.mT).sigmoid()
        return x * gate


@block('all')
class GlobalContext(Block):
    """GCNet: positions are weighed, summed and transformed."""

    def make(self, into, width):
        self.out = into
        self.weigh = conv(into, 1)
        self.down, self.up = conv(into, width), conv(width, into)

    def forward(self, x):
        weights = self.weigh(x).flatten(2).softmax(2)
        context = (x.flatten(2) @ weights.mT).unsqueeze(3)
        return x + self.up(self.down(context).relu())


@block('all')
class Film(Block):
    """Scale and shift of every channel are computed."""

    def make(self, into, width):
        self.a = conv(into, width)
        self.by = nn.Linear(into, 2 * width)

    def forward(self, x):
        scale, shift = self.by(x.mean((2, 3)))[..., None, None].chunk(2, 1)
        return self.a(x) * (1 + scale) + shift


@block('all')
class AdaIn(Block):
    """Mean and deviation of every channel are replaced."""

    def make(self, into, width):
        self.a, self.norm = conv(into, width), nn.InstanceNorm2d(width)
        self.scale, self.shift = nn.Linear(into, width), conv(into, width)

    def forward(self, x):
        scale = self.scale(x.mean((2, 3)))[..., None, None]
        return self.norm(self.a(x)) * scale + self.shift(x)


@block('either')
class SelectiveKernels(Block):
    """SKNet: branches compete for every channel."""

    def make(self, into, width):
        self.a, self.b = conv(into, width), conv(into, width, 3)
        self.down, self.up = nn.Linear(width, 4), nn.Linear(4, 2 * width)

    def forward(self, x):
        maps = torch.stack((self.a(x), self.b(x)), 1)
        seen = self.down(maps.sum(1).mean((2, 3))).relu()
        gates = self.up(seen).view(x.shape[0], 2, -1).softmax(1)
        return (maps * gates[..., None, None]).sum(1)


@block('all')
class SplitAttention(Block):
    """ResNeSt with one group: halves of a map compete."""

    def make(self, into, width):
        self.a = conv(into, 2 * width)
        self.down, self.up = conv(width, 4), conv(4, 2 * width)

    def forward(self, x):
        a, b = self.a(x).relu().chunk(2, 1)
        seen = (a + b).mean((2, 3), keepdim=True)
        left, right = self.up(self.down(seen).relu()).sigmoid().chunk(2, 1)
        return a * left + b * right


@block('none')
class ResponseNorm(Block):
    """GRN of ConvNeXt V2: norms of channels over their mean."""

    has_own_channels = True

    def make(self, into, width):
        self.a = conv(into, width)
        self.scale = nn.Parameter(torch.rand(width, 1, 1))

    def forward(self, x):
        y = self.a(x)
        norm = y.norm(p=2, dim=(2, 3), keepdim=True)
        return y + self.scale * y * norm / (norm.mean(1, True) + 1e-6)


@between('all')
def no_dropout(y):
    y = F.dropout(y, 0.3, training=False)
    return F.dropout2d(y, 0.3, training=False)


@block('all')
class StochasticDepth(Block):
    """A branch that is left out of some images in training."""

    def make(self, into, width):
        self.out = into
        self.a, self.b = conv(into, width), conv(width, into)

    def forward(self, x):
        branch = self.b(self.a(x).relu())
        if self.training:
            drawn = torch.rand(len(x), 1, 1, 1, dtype=x.dtype) < 0.8
            branch = branch * drawn / 0.8
        return x + branch


@block(15)
class DropBlock(Block):
    """Whole regions are left out, in training and here."""

    def make(self, into, width):
        self.a = conv(into, width)

    def forward(self, x):
        y = self.a(x)
        holes = torch.zeros_like(y[:, :1])
        holes[..., 2, 3] = 1
        return y * (1 - F.max_pool2d(holes, 3, 1, 1))


@block('either')
class GroupedGate(Block):
    """SGE: every group of channels has a map of weights of its own."""

    def make(self, into, width):
        self.out = rounded(width, 2)
        self.a = conv(into, self.out)

    def forward(self, x):
        y = self.a(x)
        n, c, h, w = y.shape
        parts = y.reshape(n * 2, c // 2, h, w)
        seen = (parts * parts.mean((2, 3), keepdim=True)).sum(1, True)
        return (parts * seen.sigmoid()).view(n, c, h, w)
