"""Blocks of a convolution and a norm, of every kind and number of groups."""

import torch
import torch.nn.functional as F
from torch import nn

from .block import Block, block, conv, rounded


class Normed(Block):
    """A convolution, what `norm` makes, and an activation."""

    multiple = 1
    has_own_channels = True

    def make(self, into, width):
        self.out = rounded(width, self.multiple)
        self.conv, self.norm = conv(into, self.out), self.made(self.out)

    def forward(self, x):
        return F.silu(self.norm(self.conv(x)))


@block('none')
class OneGroup(Normed):
    def made(self, width):
        return nn.GroupNorm(1, width)


@block('all')
class TwoGroups(Normed):
    multiple = 2

    def made(self, width):
        return nn.GroupNorm(2, width)


@block('all')
class FourGroups(Normed):
    multiple = 4

    def made(self, width):
        return nn.GroupNorm(4, width)


@block('all')
class AsManyGroupsAsChannels(Normed):
    def made(self, width):
        return nn.GroupNorm(width, width)


@block('all')
class NoScale(Normed):
    def made(self, width):
        return nn.BatchNorm2d(width, affine=False)


@block('all')
class NoStatistics(Normed):
    def made(self, width):
        return nn.BatchNorm2d(width, track_running_stats=False)


@block('all')
class InstanceNorm(Normed):
    def made(self, width):
        return nn.InstanceNorm2d(width, affine=True)


@block('all')
class InstanceStatistics(Normed):
    def made(self, width):
        return nn.InstanceNorm2d(width, affine=True, track_running_stats=True)


class LastIsChannels(nn.LayerNorm):
    """A norm over the channels of a map."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@block('none')
class ChannelNorm(Normed):
    def made(self, width):
        return LastIsChannels(width)


@block('none')
class LocalResponse(Normed):
    def made(self, width):
        return nn.LocalResponseNorm(3, alpha=0.5)


@block('all')
class NormOfSums(Block):
    """Two convolutions under one norm, and one norm used twice."""

    def make(self, into, width):
        self.a, self.b = conv(into, width), conv(into, width, 3)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return self.norm(self.a(x) + self.b(x)) + self.norm(self.b(x)).relu()


@block('all')
class NormFirst(Block):
    """The norm is before the convolution, as in a pre-activated ResNet."""

    def make(self, into, width):
        self.norm, self.a = nn.BatchNorm2d(into), conv(into, width, 3)

    def forward(self, x):
        return self.a(self.norm(x).relu())


@block('either')
class SpreadGroups(Block):
    """A group norm behind a concatenation: groups lie over its edge."""

    def make(self, into, width):
        self.out = rounded(into + width, 2)
        self.a = conv(into, self.out - into)
        self.norm = nn.GroupNorm(2, self.out)

    def forward(self, x):
        return self.norm(torch.cat((x, self.a(x)), 1))


@block('either')
class OwnRunningMean(Block):
    """A buffer along channels is written in every training pass."""

    def make(self, into, width):
        self.a = conv(into, width)
        self.register_buffer('average', torch.randn(width))

    def forward(self, x):
        y = self.a(x)
        if self.training:
            self.average.lerp_(y.detach().mean((0, 2, 3)), 0.1)
        return y - self.average[:, None, None]
