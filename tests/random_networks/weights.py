"""Blocks whose weights are made, shared or repeated before they are used.

Whatever is computed of a weight must be the same for a narrow one.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from .block import Block, between, block, conv, rounded


@block('all')
class WeightNorm(Block):
    def make(self, into, width):
        self.a = parametrizations.weight_norm(conv(into, width, 3))
        self.b = parametrizations.weight_norm(conv(width, width))

    def forward(self, x):
        return self.b(self.a(x).relu())


@block('either')
class SpectralNorm(Block):
    def make(self, into, width):
        self.a = parametrizations.spectral_norm(conv(into, width, 3))

    def forward(self, x):
        return self.a(x).relu()


@block('either')
class StandardisedWeights(Block):
    """Weight standardisation: every row has mean 0 and deviation 1."""

    def make(self, into, width):
        self.conv = conv(into, width, 3)

    def forward(self, x):
        weight = self.conv.weight
        mean = weight.mean((1, 2, 3), keepdim=True)
        spread = weight.std((1, 2, 3), keepdim=True) + 1e-5
        weight = (weight - mean) / spread
        return F.conv2d(x, weight, self.conv.bias, padding=1)


@block('either')
class CentreDifference(Block):
    """A kernel less the sum of itself, as in central difference networks."""

    def make(self, into, width):
        self.conv = conv(into, width, 3)

    def forward(self, x):
        centre = self.conv.weight.sum((2, 3), keepdim=True)
        return self.conv(x) - 0.7 * F.conv2d(x, centre)


@block('either')
class TernaryWeights(Block):
    """Weights in steps of one scale per row."""

    def make(self, into, width):
        self.conv = conv(into, width, 3)

    def forward(self, x):
        weight = self.conv.weight
        scale = weight.abs().amax((1, 2, 3), keepdim=True) + 1e-6
        return F.conv2d(x, (weight / scale).round() * scale, padding=1)


@block('all')
class TiedAutoencoder(Block):
    """One weight reads in one layer and writes in the next."""

    def make(self, into, width):
        self.out = into
        self.weight = nn.Parameter(torch.randn(width, into, 1, 1) / 3)

    def forward(self, x):
        inner = F.conv2d(x, self.weight).relu()
        return F.conv_transpose2d(inner, self.weight)


@block('all')
class TiedLinear(Block):
    """One layer is used at two scales."""

    def make(self, into, width):
        self.a, self.norm = conv(into, width), nn.BatchNorm2d(width)

    def forward(self, x):
        small = self.norm(self.a(F.avg_pool2d(x, 2))).relu()
        return self.a(x) + F.interpolate(small, scale_factor=2)


@block('all')
class RepVgg(Block):
    """Three branches that are summed; one is a norm only."""

    def make(self, into, width):
        self.out = into
        self.a, self.b = conv(into, into, 3), conv(into, into)
        self.norms = nn.ModuleList(nn.BatchNorm2d(into) for _ in range(3))

    def forward(self, x):
        a, b, c = self.norms
        return (a(self.a(x)) + b(self.b(x)) + c(x)).relu()


@block('all')
class AcNet(Block):
    """A square kernel, a row and a column are summed."""

    def make(self, into, width):
        self.a = conv(into, width, 3)
        self.b = nn.Conv2d(into, width, (1, 3), padding=(0, 1))
        self.c = nn.Conv2d(into, width, (3, 1), padding=(1, 0))

    def forward(self, x):
        return (self.a(x) + self.b(x) + self.c(x)).relu()


@block('either')
class SummedKernels(Block):
    """The weight of one convolution is the sum of two parameters."""

    def make(self, into, width):
        self.a, self.b = conv(into, width, 3), conv(into, width)

    def forward(self, x):
        weight = self.a.weight + F.pad(self.b.weight, (1, 1, 1, 1))
        return F.conv2d(x, weight, self.a.bias + self.b.bias, padding=1)


@block('either')
class LowRank(Block):
    """The weight of a layer is a product of two parameters, as in LoRA."""

    def make(self, into, width):
        self.conv = conv(into, width)
        self.a = nn.Parameter(torch.randn(width, 2) / 2)
        self.b = nn.Parameter(torch.randn(2, into) / 2)

    def forward(self, x):
        more = (self.a @ self.b)[..., None, None]
        return F.conv2d(x, self.conv.weight + more, self.conv.bias)


@block('all')
class DepthwiseMultiplier(Block):
    """Every channel makes two."""

    def make(self, into, width):
        self.out = 2 * into
        self.deep = conv(into, 2 * into, 3, groups=into)

    def forward(self, x):
        return self.deep(x).relu()


@block('all')
class TransposedMultiplier(Block):
    """Every channel makes two, at twice the size."""

    def make(self, into, width):
        self.out = 2 * into
        self.deep = nn.ConvTranspose2d(into, 2 * into, 4, 2, 1, groups=into)

    def forward(self, x):
        return F.avg_pool2d(self.deep(x).relu(), 2)


@block('all')
class TransposedGrouped(Block):
    def make(self, into, width):
        self.out = rounded(width, 2)
        self.a = conv(into, rounded(width, 4))
        self.b = nn.ConvTranspose2d(
            rounded(width, 4), self.out, 3, padding=1, groups=2
        )

    def forward(self, x):
        return self.b(self.a(x).relu())


@block('either')
class DynamicKernel(Block):
    """The depthwise kernel of every image is computed from it."""

    def make(self, into, width):
        self.out = into
        self.kernel = nn.Linear(into, 9 * into)

    def forward(self, x):
        n, c, h, w = x.shape
        kernel = self.kernel(x.mean((2, 3))).view(n * c, 1, 3, 3) / 9
        y = F.conv2d(x.reshape(1, n * c, h, w), kernel, None, 1, 1, 1, n * c)
        return y.view(n, c, h, w)


@block('either')
class CondConv(Block):
    """Kernels are mixed for every image."""

    def make(self, into, width):
        self.mixed = nn.Parameter(torch.randn(3, width, into, 3, 3) / 9)
        self.gate = nn.Linear(into, 3)

    def forward(self, x):
        gates = self.gate(x.mean((2, 3))).softmax(1)
        kernels = torch.einsum('nk,koihw->noihw', gates, self.mixed)
        maps = [
            F.conv2d(each[None], kernel, padding=1)
            for each, kernel in zip(x, kernels)
        ]
        return torch.cat(maps)


@block('all')
class LayerScale(Block):
    """A parameter along the channels, of three dimensions."""

    def make(self, into, width):
        self.out = into
        self.a = conv(into, into, 3)
        self.scale = nn.Parameter(torch.rand(into, 1, 1))

    def forward(self, x):
        return x + self.scale * self.a(x)


@block('either')
class Offsets(Block):
    """A parameter is added at every position of every channel."""

    def make(self, into, width):
        self.a = conv(into, width)
        self.offset = nn.Parameter(torch.randn(1, width, 4, 4))

    def forward(self, x):
        return self.a(x) + F.interpolate(self.offset, x.shape[-2:])


@block('either')
class Sinusoids(Block):
    """A fixed code of position, a buffer along the channels."""

    def make(self, into, width):
        self.a = conv(into, width)
        waves = torch.arange(64)[:, None] / 10.0 ** torch.arange(width)
        self.register_buffer('code', waves.sin())

    def forward(self, x):
        y = self.a(x).flatten(2).mT
        places = torch.arange(y.shape[1]) % 64
        return (y + self.code[places]).mT.reshape(x.shape[0], -1, *x.shape[2:])


@block('either')
class Whitened(Block):
    """Buffers along the channels; a masked deviation must not divide."""

    def make(self, into, width):
        self.a = conv(into, width)
        self.register_buffer('mean', torch.randn(width, 1, 1))
        self.register_buffer('deviation', 1 + torch.rand(width, 1, 1))

    def forward(self, x):
        return (self.a(x) - self.mean) / self.deviation


@block('all')
class PRelu(Block):
    def make(self, into, width):
        self.a, self.bend = conv(into, width), nn.PReLU(width)

    def forward(self, x):
        return self.bend(self.a(x))


@between('all')
def both_signs(y):
    return torch.cat((y, -y), 1).relu()


@between('either', multiple=2)
def maxout(y):
    n, c, h, w = y.shape
    return y.view(n, c // 2, 2, h, w).amax(2)


@between('all', multiple=2)
def gated_half(y):
    return F.glu(y, 1)


@between('all', multiple=2)
def simple_gate(y):
    a, b = y.chunk(2, 1)
    return a * b
