"""Toy networks that select nothing, so that layers run on empty tensors."""

import torch
import torch.nn.functional as F
from torch import nn

from .toy_networks import conv, toy

NONE = torch.zeros(0, dtype=torch.long)
NOWHERE = torch.zeros(2, 8, 8) > 1


class Selecting(nn.Module):
    """What is selected is added up: nothing, whatever is cut."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 2)

    def forward(self, x):
        x = self.a(x).relu()
        return self.b(x) + self.select(x).sum()


class SelectingPoints(Selecting):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(4, 5), nn.Linear(5, 3)

    def head(self, points):
        return self.out(self.hidden(points).relu())


HEAD = {
    'a': '4: a:0 a.bias:0 b:1 hidden:1',
    'hidden': '5: hidden:0 hidden.bias:0 out:1',
}
LAST = {'out': '3: out:0 out.bias:0'}


@toy(HEAD | LAST)
class NoPoints(SelectingPoints):
    def select(self, x):
        points = x.flatten(2)[0].t()[NONE]
        points = torch.cat((points, points + 1, torch.zeros(0)))
        return self.head(points.softmax(0))


@toy(HEAD | LAST)
class NowhereInTheMask(SelectingPoints):
    def select(self, x):
        return self.head(x.permute(0, 2, 3, 1)[NOWHERE])


@toy(HEAD)
class PointsPutNowhere(SelectingPoints):
    def select(self, x):
        points = x.flatten(2)[0].t()[NONE]
        points = x.new_zeros(7, x.shape[1]).index_put_((NONE,), points)
        found = torch.stack((points[:0], points[:0]), 1).flatten(0, 1)
        return self.head(points) + self.head(found).sum()


@toy(HEAD | LAST)
class PointsPutIntoNothing(SelectingPoints):
    """One after the other, as regions of several scales are gathered."""

    def select(self, x):
        points = x.flatten(2)[0].t()[NONE]
        into = torch.zeros(0, x.shape[1], dtype=x.dtype)
        into[NONE] = points
        into[NONE] = points.relu()
        twice = x.new_empty(0, x.shape[1])
        twice.index_copy_(0, NONE, points).index_add_(0, NONE, into)
        return self.head(into) + self.head(twice)


class SelectingImages(Selecting):
    def __init__(self):
        super().__init__()
        self.c, self.out = conv(4, 6, 3), nn.Linear(6 * 16, 3)
        self.norm = self.make_norm()

    def select(self, x):
        x = F.max_pool2d(self.norm(self.c(x[:0])), 2)
        return self.out(x.flatten(1))


@toy(
    {
        'a': '4: a:0 a.bias:0 b:1 c:1',
        'c': '3: c:0*2 c.bias:0*2 norm:0*2 norm.bias:0*2 out:1*32',
        **LAST,
    }
)
class NoImages(SelectingImages):
    def make_norm(self):
        return nn.GroupNorm(3, 6)


@toy(
    {'a': '4: a:0 a.bias:0 b:1 c:1', **LAST},
    pinned={'c': 'aten.mul.Tensor in norm computes nothing'},
)
class NormOfNoImages(SelectingImages):
    """Torch does not look at all of the norm, so that it stays."""

    def make_norm(self):
        return nn.BatchNorm2d(6)
