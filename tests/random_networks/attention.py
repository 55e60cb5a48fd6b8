"""Blocks in which positions look at positions, and layers that read in turn.

Queries and keys are coupled with each other, values with what leaves.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .block import Block, block, conv, rounded


def tokens(x):
    """(n, c, h, w) -> (n, h * w, c)"""
    return x.flatten(2).mT


def maps(y, like):
    """(n, h * w, c) -> (n, c, h, w)"""
    return y.mT.reshape(like.shape[0], -1, *like.shape[2:])


@block(16)
class NonLocal(Block):
    """The scale is a constant."""

    def make(self, into, width):
        self.out = into
        self.query, self.key = conv(into, width), conv(into, width)
        self.value, self.back = conv(into, width), conv(width, into)

    def forward(self, x):
        query, key, value = (
            tokens(each(x)) for each in (self.query, self.key, self.value)
        )
        weights = (query @ key.mT * 0.3).softmax(-1)
        return x + self.back(maps(weights @ value, x))


@block(16)
class ScaledByItsSize(Block):
    """1 / sqrt(d) is asked of the query, so queries stay."""

    def make(self, into, width):
        self.query, self.key = conv(into, width), conv(into, width)
        self.value = conv(into, width)

    def forward(self, x):
        query, key, value = (
            tokens(each(x)) for each in (self.query, self.key, self.value)
        )
        weights = query @ key.mT / query.shape[-1] ** 0.5
        return maps(weights.softmax(-1) @ value, x)


@block('either')
class TwoHeads(Block):
    """Heads are made by a view; one layer makes all three."""

    def make(self, into, width):
        self.out = rounded(width, 2)
        self.all, self.back = (
            nn.Linear(into, 3 * self.out),
            nn.Linear(self.out, self.out),
        )

    def forward(self, x):
        n, c, h, w = x.shape
        parts = self.all(tokens(x)).view(n, h * w, 3, 2, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        weights = (query @ key.mT * 0.4).softmax(-1)
        mixed = (weights @ value).transpose(1, 2).reshape(n, h * w, -1)
        return maps(self.back(mixed), x)


@block(16)
class Fused(Block):
    """torch's own attention scales by the size of the query."""

    is_counted = False

    def make(self, into, width):
        self.query, self.key = nn.Linear(into, width), nn.Linear(into, width)
        self.value = nn.Linear(into, width)

    def forward(self, x):
        flat = tokens(x)
        mixed = F.scaled_dot_product_attention(
            self.query(flat), self.key(flat), self.value(flat)
        )
        return maps(mixed, x)


@block('either')
class Attentive(Block):
    """torch's module, whose embedding is a number written in it."""

    is_counted = False

    def make(self, into, width):
        self.out = rounded(width, 2)
        self.a = conv(into, self.out)
        self.attend = nn.MultiheadAttention(self.out, 2, batch_first=True)

    def forward(self, x):
        y = tokens(self.a(x))
        return maps(y + self.attend(y, y, y, need_weights=False)[0], x)


@block('all')
class FeedForward(Block):
    """The stream is pinned by the norm over channels, the inside is free."""

    has_own_channels = False

    def make(self, into, width):
        self.out = into
        self.up, self.down = nn.Linear(into, width), nn.Linear(width, into)

    def forward(self, x):
        flat = tokens(x)
        return maps(flat + self.down(F.gelu(self.up(flat))), x)


@block(8)
class NormedTokens(Block):
    """A transformer's second half."""

    def make(self, into, width):
        self.out = into
        self.norm = nn.LayerNorm(into)
        self.up, self.down = nn.Linear(into, width), nn.Linear(width, into)

    def forward(self, x):
        flat = tokens(x)
        inner = F.gelu(self.up(self.norm(flat)))
        return maps(flat + self.down(inner), x)


@block(8)
class ConvNext(Block):
    """A depthwise kernel, a norm over channels, and a wide inside."""

    def make(self, into, width):
        self.out = into
        self.deep, self.norm = (
            conv(into, into, 3, groups=into),
            nn.LayerNorm(into),
        )
        self.up, self.down = nn.Linear(into, width), nn.Linear(width, into)
        self.scale = nn.Parameter(torch.rand(into))

    def forward(self, x):
        y = self.norm(self.deep(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


@block(8)
class RootMeanSquare(Block):
    """RMSNorm over channels, written out."""

    def make(self, into, width):
        self.out = into
        self.scale = nn.Parameter(torch.rand(into, 1, 1))
        self.up, self.down = conv(into, width), conv(width, into)

    def forward(self, x):
        size = x.square().mean(1, keepdim=True)
        y = x * (size + 1e-5).rsqrt() * self.scale
        return x + self.down(self.up(y).relu())


@block(8)
class Lstm(Block):
    """What is read may be cut, the hidden state may not."""

    is_counted = False

    def make(self, into, width):
        self.read = nn.LSTM(into, width, batch_first=True)

    def forward(self, x):
        return maps(self.read(tokens(x))[0], x)


@block(8)
class Gru(Block):
    is_counted = False

    def make(self, into, width):
        self.out = 2 * width
        self.read = nn.GRU(into, width, batch_first=True, bidirectional=True)

    def forward(self, x):
        return maps(self.read(tokens(x))[0], x)


@block(24)
class KernelPoints(Block):
    """KPConv: an einsum with a weight per kernel point."""

    def make(self, into, width):
        self.a = conv(into, width)
        self.weight = nn.Parameter(torch.randn(3, width, width) / 3)

    def forward(self, x):
        y = tokens(self.a(x).relu())
        near = torch.stack([y.roll(shift, 1) for shift in (0, 1, 2)], 1)
        return maps(torch.einsum('nkpc,kcd->npd', near, self.weight), x)


@block(16)
class Einsum(Block):
    """A 1 x 1 convolution as an einsum on the map."""

    def make(self, into, width):
        self.weight = nn.Parameter(torch.randn(width, into) / 2)

    def forward(self, x):
        return torch.einsum('oi,nihw->nohw', self.weight, x)


@block('either')
class BilinearProducts(Block):
    """Two maps are multiplied through a weight of three dimensions."""

    def make(self, into, width):
        self.pair = nn.Bilinear(into, into, width)

    def forward(self, x):
        flat = tokens(x).contiguous()
        return maps(self.pair(flat, flat.tanh()), x)


@block('either')
class Codebook(Block):
    """Every position becomes the nearest of some learned vectors."""

    def make(self, into, width):
        self.a = conv(into, width)
        self.codes = nn.Embedding(5, width)

    def forward(self, x):
        y = tokens(self.a(x))
        nearest = torch.cdist(y, self.codes.weight[None]).argmin(-1)
        return maps(y + self.codes(nearest), x)


@block(16)
class TiedEmbedding(Block):
    """The vectors that are looked up are also those that are compared."""

    def make(self, into, width):
        self.a, self.codes = conv(into, width), nn.Embedding(5, width)

    def forward(self, x):
        y = tokens(self.a(x))
        best = F.linear(y, self.codes.weight).softmax(-1)
        places = torch.arange(y.shape[1]) % 5
        return maps(best @ self.codes.weight + self.codes(places), x)


@block('either')
class Clustered(Block):
    """Positions are summed into cells and read back, as points are."""

    def make(self, into, width):
        self.a = conv(into, width)

    def forward(self, x):
        y = tokens(self.a(x))
        cell = torch.arange(y.shape[1]) % 4
        sums = y.new_zeros(len(y), 4, y.shape[2]).index_add(1, cell, y)
        return maps(y - 0.1 * sums[:, cell], x)
