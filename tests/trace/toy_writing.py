"""Toy networks that write into tensors piece by piece."""

import torch
import torch.nn.functional as F

from .toy_networks import toy
from .toy_patterns import FREE, FUSED, Between, Fused


@toy(FREE)
class EveryOtherIsZero(Between):
    def between(self, x):
        x = x.sigmoid().clone()
        x[..., ::2] = 0
        x[:, :, 0] += x[:, :, 1]
        x = x * 2  # what is written into was not computed with
        x[x > 0.5] = 1
        x[:, :, 3].copy_(x.new_ones(8))
        return x.exp()


@toy(FREE)
class PaddedByHand(Between):
    """What is around the part that is written is as many channels."""

    def between(self, x):
        n, c, h, w = x.shape
        padded = torch.zeros(n, c, h + 2, w + 2, dtype=x.dtype)
        padded[:, :, 1:-1, 1:-1] = x
        half = torch.empty(n, c, h + 2, w + 2, dtype=x.dtype)
        half[..., :5] = padded[..., :5].relu()
        half[..., 5:].zero_()
        return half.relu() + torch.ones(c, 1, 1, dtype=x.dtype)


@toy(
    {
        'a': '4: a:0 a.bias:0 c:1',
        'b': '4: b:0 b.bias:0 c:1',
    }
)
class JoinedByHand(Fused):
    """What is written into one tensor beside each other stays apart."""

    def __init__(self):
        super().__init__()
        self.c = torch.nn.Conv2d(8, 2, 1)

    def fuse(self, a, b):
        width = a.shape[1] + b.shape[1]
        joined = torch.empty(len(a), width, *a.shape[2:], dtype=a.dtype)
        joined[:, : a.shape[1]] = a
        joined[:, a.shape[1] :] = b
        return joined.relu()


@toy(FUSED)
class SumByHand(Fused):
    def fuse(self, a, b):
        total = torch.zeros(a.shape, dtype=a.dtype)
        total[..., :4] += a[..., :4]
        total[..., 4:] -= b[..., 4:]
        return total.index_copy_(2, torch.tensor([0, 1]), b[:, :, :2]).exp()


@toy({'a': '4: a:0*4 a.bias:0*4 b:1'})
class InverseWavelet(Between):
    """Four maps are woven into one of twice the size."""

    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Conv2d(3, 16, 1), torch.nn.Conv2d(4, 2, 1)

    def between(self, x):
        n, c, h, w = x.shape
        c = c // 4
        out = torch.zeros(n, c, 2 * h, 2 * w, dtype=x.dtype)
        for number, part in enumerate(x.split(c, 1)):
            out[:, :, number // 2 :: 2, number % 2 :: 2] = part
        return F.relu(out)
