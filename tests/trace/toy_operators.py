"""Toy networks of operators that pin, and of modules that own odd tensors."""

import torch
import torch.nn.functional as F
from torch import nn

from .toy_networks import conv, toy


@toy({}, pinned={'a': 'takes channels one by one'})
class Unbound(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 2), conv(2, 2)

    def forward(self, x):
        one, other = self.a(x).unbind(1)
        return self.b(torch.stack((other, one), 1))


@toy({}, pinned={'a': 'picks channels by data'})
class PickedByData(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(2, 2)

    def forward(self, x):
        return self.b(self.a(x)[:, torch.tensor([3, 1])])


@toy({'b': '3: b:0 b.bias:0 c:1'}, pinned={'a': 'compares channels'})
class Softmax(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(4, 3), conv(3, 2)

    def forward(self, x):
        return self.c(
            self.b(self.a(x).softmax(1)).flatten(2).softmax(2)[..., None]
        )


@toy({'a': '4: a:0 a.bias:0 norm b:1'})
class PlainBatchNorm(nn.Module):
    """Without gamma and beta."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 2)
        self.norm = nn.BatchNorm2d(4, affine=False)

    def forward(self, x):
        return self.b(self.norm(self.a(x)))


@toy({}, pinned={'a': 'norm fails after a cut'})
class PlainGroupNorm(nn.Module):
    """Without gamma and beta nothing tells its width, so it stays."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 8), conv(8, 2)
        self.norm = nn.GroupNorm(4, 8, affine=False)

    def forward(self, x):
        return self.b(self.norm(self.a(x)))


class Scaled(nn.Module):
    """Owns a tensor, and a size that nothing says how to adapt."""

    def __init__(self, width):
        super().__init__()
        self.width = width
        self.scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x):
        return x * self.scale


@toy({'b': '5: b:0 b.bias:0 c:1'}, pinned={'a': "owns 'scale'"})
class UndeclaredModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(4, 5), conv(5, 2)
        self.scaled = Scaled(4)

    def forward(self, x):
        return self.c(self.b(self.scaled(self.a(x))))


@toy({'a': '4: a:0 a.bias:0 b:0'})
class MatrixOfParameters(nn.Module):
    """A weight that is no layer's: `x @ self.b`."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 4)
        self.b = nn.Parameter(torch.randn(4, 2))

    def forward(self, x):
        return self.a(x.mean((2, 3))) @ self.b


@toy(
    {'b': '3: b:0 b.bias:0 gain:0 c:1'},
    pinned={'a': 'aten.mean.dim in the model reduces over channels'},
)
class StandardisedWeight(nn.Module):
    """Each row of a kernel is normalised over all that it reads.

    So what it reads must stay; what it computes may go.
    """

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(4, 3), conv(3, 2)
        self.gain = nn.Parameter(torch.rand(3, 1, 1, 1))

    def forward(self, x):
        rows = self.b.weight.view(self.b.weight.shape[0], -1)
        mean = rows.mean(1, keepdim=True).view(-1, 1, 1, 1)
        std = rows.std(1, keepdim=True).view(-1, 1, 1, 1)
        weight = self.gain * (self.b.weight - mean) / (std + 1e-3)
        return self.c(F.conv2d(self.a(x), weight, self.b.bias).relu())


@toy({'a': '4: a:0 a.bias:0 b:1'})
class RoundTrip(nn.Module):
    """Flattened to (batch, positions, channels) and back."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 2)

    def forward(self, x):
        x = self.a(x)
        n, c, h, w = x.shape
        x = x.flatten(2).transpose(1, 2).contiguous()
        return self.b(x.permute(0, 2, 1).view(n, c, h, w))


@toy({'a': '4: a:0 a.bias:0 b:0 b.bias:0 c:1'})
class Levels(nn.Module):
    """Added after resizing: the channels of an FPN are one."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(3, 4), conv(4, 2)

    def forward(self, x):
        a, b = self.a(x), self.b(F.avg_pool2d(x, 2))
        b = F.interpolate(b, size=a.shape[2:], mode='bilinear')
        return self.c(a + b)


@toy({'a': '3: a:0 bias:0 b:1'})
class ComputedBias(nn.Module):
    """A bias that is written into before it is used (Swin V2).

    The last channel is another's than it was if it is cut.
    """

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4, bias=False), nn.Linear(4, 2)
        self.bias = nn.Parameter(torch.ones(4))

    def forward(self, x):
        bias = self.bias.clone()
        bias[: len(bias) - 1].mul_(2)
        return self.b(F.linear(x.mean((2, 3)), self.a.weight, bias).relu())


@toy({'a': '4: a:0 a.bias:0 b:1'}, pinned={'b': 'it leaves the model'})
class PlainProducts(nn.Module):
    """Products of what carries no channels cost as well."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 2)

    def forward(self, x):
        blur = F.conv2d(x[:, :1], torch.ones(1, 1, 3, 3) / 9)
        rows = x.flatten(1) @ torch.ones(192, 5)
        seen = F.scaled_dot_product_attention(x, x, x)
        mixed = torch.baddbmm(x[:, 0], x[:, 1], x[:, 2])
        return self.b(self.a(x)), blur, rows, seen, mixed
