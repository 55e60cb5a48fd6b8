"""Toy networks of parameters that are matrices, tokens or filters."""

import torch
from torch import nn

from .toy_networks import conv, toy

POINTS = (6, 5, 3)  # (points, kernel points, channels)


class KernelPoints(nn.Module):
    """A matrix per kernel point, as in KPConv."""

    weight_shape = 5, 4, 6

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(6, 2)
        self.matrices = nn.Parameter(torch.randn(self.weight_shape))

    def forward(self, x):
        return self.b(self.points(self.a(x)).relu())


@toy(
    {
        'a': '4: a:0 a.bias:0 matrices:1',
        'matrices#2': '6: matrices:2 b:1',
    },
    shape=POINTS,
    pinned={'matrices': 'it is laid along one dimension with others'},
)
class SumOverKernelPoints(KernelPoints):
    def points(self, x):
        return torch.einsum('nkc,kcd->nd', x, self.matrices)


@toy(
    {'a': '4: a:0 a.bias:0 matrices:0', 'matrices': '6: matrices:2 b:1'},
    shape=POINTS,
)
class KernelPointsInTheMiddle(KernelPoints):
    weight_shape = 4, 5, 6

    def points(self, x):
        return torch.einsum('nkc,ckd->nd', x, self.matrices)


@toy(
    {'a': '4: a:0 a.bias:0 matrices:2', 'matrices': '6: matrices:0 b:1'},
    shape=POINTS,
)
class RowsFirst(KernelPoints):
    weight_shape = 6, 5, 4

    def points(self, x):
        return torch.einsum('nkc,dkc->nd', x, self.matrices)


@toy(
    {
        'a': '4: a:0 a.bias:0 matrices:1',
        'matrices#2': '6: matrices:2 b:1',
    },
    shape=POINTS,
    pinned={'matrices': 'takes its matrices one by one'},
)
class MatrixPerSample(KernelPoints):
    def points(self, x):
        return (x.transpose(0, 1) @ self.matrices).transpose(0, 1)


@toy(
    {
        'a': '4: a:0 a.bias:0 matrices:1',
        'matrices#2': '6: matrices:2 b:1',
    },
    shape=POINTS,
    pinned={'matrices': 'takes channels one by one'},
)
class MatrixByMatrix(KernelPoints):
    def points(self, x):
        return sum(x[:, k] @ self.matrices[k] for k in range(5))


@toy(
    {'a': '4: a:0 a.bias:0 tokens:2 places:2 b:1'},
    shape=POINTS,
)
class LearnedTokens(nn.Module):
    """Channels of these lie along their last dimension."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)
        self.tokens = nn.Parameter(torch.randn(1, 2, 4))
        self.places = nn.Parameter(torch.randn(1, 7, 4))

    def forward(self, x):
        tokens = self.tokens.expand(len(x), -1, -1)
        return self.b(torch.cat((tokens, self.a(x)), 1) + self.places)


@toy({'a': '4: a:0 a.bias:0 filter:2 b:1'})
class GlobalFilter(nn.Module):
    """Channels come last, behind the frequencies (GFNet)."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 2)
        self.filter = nn.Parameter(torch.randn(8, 5, 4, 2))

    def forward(self, x):
        x = self.a(x).permute(0, 2, 3, 1)
        spectrum = torch.fft.rfft2(x, dim=(1, 2), norm='ortho')
        spectrum = spectrum * torch.view_as_complex(self.filter)
        x = torch.fft.irfft2(spectrum, dim=(1, 2), norm='ortho')
        return self.b(x.permute(0, 3, 1, 2))
