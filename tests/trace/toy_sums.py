"""Toy networks that sum over channels, or scale by an L2 norm of them."""

import torch
import torch.nn.functional as F
from torch import nn

from .toy_networks import conv, toy


class Summing(nn.Module):
    """Four channels on which `forward` of a subclass makes a sum."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 2)


@toy({'a': '4: a:0 a.bias:0 b:1'})
class Sum(Summing):
    def forward(self, x):
        x = self.a(x)
        return self.b(x), x.sum() * 2


@toy({'a': '4: a:0 norm b:1'})
class NormSum(Summing):
    """Norm, relu, pooling and upsampling keep a masked channel zero."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = conv(3, 4, bias=False), nn.BatchNorm2d(4)

    def forward(self, x):
        x = F.max_pool2d(self.norm(self.a(x)).relu_(), 2)
        x = (
            F.interpolate(x, scale_factor=2, mode='bilinear')
            .relu_()
            .flatten(2)
        )
        return self.b(x[..., None]), x.abs().sum(1)


@toy({}, pinned={'a': 'sum.dim_IntList in the model reduces over channels'})
class SigmoidSum(Summing):
    """A masked channel is one half after a sigmoid."""

    def forward(self, x):
        x = self.a(x).sigmoid()
        return self.b(x), x.sum(1)


@toy({}, pinned={'a': 'sum.dim_IntList in the model reduces over channels'})
class WrittenSum(Summing):
    """A view is no longer zero when something is added to its base."""

    def forward(self, x):
        x = self.a(x)
        rows = x.flatten(2)
        x.add_(1)
        return self.b(x), rows.sum(1)


@toy({}, pinned={'a': 'sum.dim_IntList in the model reduces over channels'})
class LearnedSum(Summing):
    """What starts at zero and is no channel need not stay zero."""

    def __init__(self):
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        x = self.a(x) + self.offset
        return self.b(x), x.sum(1)


@toy({}, pinned={'a': 'mul.Tensor in the model computes with another number'})
class CountedSum(Summing):
    """A mean over channels, its factor written in Python."""

    def forward(self, x):
        x = self.a(x)
        return self.b(x), x.sum(1) * (1 / x.shape[1])


@toy({}, pinned={'a': 'sqrt.default in the model computes with another'})
class CountedScale(Summing):
    """The same number in a tensor, and no sum at all."""

    def forward(self, x):
        x = self.a(x)
        return self.b(x / torch.tensor(float(x.shape[1])).sqrt())


@toy({'a': '4: a:0 a.bias:0 scale:0 b:1'})
class L2Norm(Summing):
    """SSD's: every position is divided by its norm over channels."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        x = self.a(x)
        norm = x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10
        return self.b(self.scale[None, :, None, None].expand_as(x) * x / norm)


@toy({'a': '4: a:0 a.bias:0 b:1'})
class Normalised(Summing):
    """`F.normalize` spreads the norm over as many channels again."""

    def forward(self, x):
        return self.b(F.normalize(self.a(x).relu()))


@toy({'a': '4: a:0 a.bias:0 b:1', 'b': '3: b:0 b.bias:0 c:1'})
class NormedKernel(nn.Module):
    """A cosine: a kernel's rows, and what they read, of length 1."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(4, 3, 3), conv(3, 2)

    def forward(self, x):
        x, weight = self.a(x).relu(), self.b.weight
        length = weight.view(weight.size(0), -1).norm(dim=1, keepdim=True)
        weight = weight / (length.pow(0.5)[..., None, None] + 1e-6)
        x = x / (x.norm(dim=1, keepdim=True) + 1e-6) * 20
        return self.c(F.conv2d(x, weight, self.b.bias, padding=1))


@toy({'a': '4: a:0 a.bias:0 b:1', 'b': '3: b:0 b.bias:0 c:1'})
class NormedRows(nn.Module):
    """The same of a linear layer."""

    def __init__(self):
        super().__init__()
        self.a, self.c = conv(3, 4), nn.Linear(3, 2)
        self.b = nn.Linear(4, 3)

    def forward(self, x):
        x = self.a(x).relu().mean((2, 3))
        weight = self.b.weight / (self.b.weight.norm(dim=1, keepdim=True) + 1)
        return self.c(F.linear(x, weight, self.b.bias))


@toy(
    {'b': '3: b:0 b.bias:0 c:1'},
    pinned={'a': 'has a computed weight that is not zero where its channels'},
)
class GatedKernel(nn.Module):
    """A masked column of the kernel is one half, and so is what it reads."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(4, 3), conv(3, 2)

    def forward(self, x):
        weight = self.b.weight.sigmoid()
        return self.c(F.conv2d(self.a(x).sigmoid(), weight, self.b.bias))


@toy({'a': '4: a:0 a.bias:0 b:1', 'b': '3: b:0 b.bias:0 c:1'})
class GatedKernelOfZeros(GatedKernel):
    """But what it reads is zero here, so the column does not matter."""

    def forward(self, x):
        weight = self.b.weight.sigmoid()
        return self.c(F.conv2d(self.a(x).relu(), weight, self.b.bias))


@toy({'a': '4: a:0 a.bias:0 b:1', 'b': '3: b:0 b.bias:0 c:1'})
class PaddedKernel(GatedKernel):
    """Positions around a kernel hold no channel."""

    def forward(self, x):
        weight = F.pad(self.b.weight, (1, 1, 1, 1), value=0.5)
        return self.c(F.conv2d(self.a(x).relu(), weight, self.b.bias))


@toy({'a': '4: a:0 a.bias:0 b:1', 'b': '3: b:0 c:1'})
class BiasOfZeros(nn.Module):
    """Zeros of a size that follows have room for any channel."""

    def __init__(self):
        super().__init__()
        self.a, self.c = conv(3, 4), conv(3, 2)
        self.b = conv(4, 3, bias=False)

    def forward(self, x):
        bias = torch.zeros(self.b.out_channels, dtype=x.dtype)
        return self.c(F.conv2d(self.a(x), self.b.weight, bias))


@toy({}, pinned={'b': 'a size is written in Python: aten.convolution'})
class ThreeZeros(BiasOfZeros):
    """Three zeros are three after any cut."""

    def forward(self, x):
        bias = torch.zeros(3, dtype=x.dtype)
        return self.c(F.conv2d(self.a(x), self.b.weight, bias))


@toy(
    {'b': '3: b:0 b.bias:0 c:1'},
    pinned={'a': 'mul.Tensor in the model computes with another number'},
)
class CountedKernel(nn.Module):
    """A kernel is divided by how many channels it reads, which are pinned."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(4, 3), conv(3, 2)

    def forward(self, x):
        weight = self.b.weight * (1 / self.b.weight.shape[1])
        return self.c(F.conv2d(self.a(x), weight, self.b.bias))
