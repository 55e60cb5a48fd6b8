"""Toy networks of patterns that people write and that are easily refused."""

import torch
import torch.nn.functional as F
from torch import nn

from .toy_networks import conv, toy

FUSED = {'a': '4: a:0 a.bias:0 b:0 b.bias:0 c:1'}


class Fused(nn.Module):
    """Two branches of the same channels."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(3, 4), conv(4, 2)
        self.weights = nn.Parameter(torch.rand(2))

    def forward(self, x):
        return self.c(self.fuse(self.a(x), self.b(x)))


@toy(FUSED, pinned={'weights': 'it is broadcast over channels'})
class LearnedWeightFirst(Fused):
    """The weights of BiFPN are two numbers, and no channels."""

    def fuse(self, a, b):
        weights = F.relu(self.weights)
        weights = weights / (weights.sum() + 1e-4)
        return weights[0] * a + weights[1] * b


@toy({'a': '4: a:0 a.bias:0 b:0 b.bias:0 c:1 gate:1'})
class GateOfOneChannel(Fused):
    """One number per image for all the channels of a branch."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(4, 2)

    def fuse(self, a, b):
        gates = self.gate(a.mean((2, 3))).sigmoid()[..., None, None]
        return gates[:, :1] * a + gates[:, 1:].expand_as(b) * b
