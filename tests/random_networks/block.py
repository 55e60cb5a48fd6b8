"""What a block of the random networks is: channels in, channels out.

A block takes maps of `into` channels and any square size, and gives maps of
the same size of as many channels as it says in `out`.
"""

import torch
from torch import nn

# What a good library may cut of a kind that stands alone: all that neither
# enters nor leaves the network, at least so many channels, none; or either,
# where pinning is right and so is a cut that is exact.
EXPECTATIONS = 'all', 'none', 'either'

BLOCKS = {}


def block(expected):
    """Enters a block into BLOCKS, with what may be cut where it is alone."""

    def enter(kind):
        assert isinstance(expected, int) or expected in EXPECTATIONS
        assert kind.__name__ not in BLOCKS
        kind.expected = expected
        BLOCKS[kind.__name__] = kind
        return kind

    return enter


def conv(into, out, kernel=1, **settings):
    return nn.Conv2d(into, out, kernel, padding=kernel // 2, **settings)


def rounded(width, multiple):
    """The next width above that can be divided."""
    return -(-width // multiple) * multiple


class Block(nn.Module):
    """A block of `width` inner channels.

    Attributes:
        expected: One of EXPECTATIONS, or a number of channels.
        is_counted: Whether torch's counter of FLOPs knows its operators.
        has_own_channels: Whether `expected` is about the channels made in it;
            else also about those that it is given.
    """

    expected = 'either'
    is_counted = True
    has_own_channels = False

    def __init__(self, into, width):
        super().__init__()
        self.out = width
        self.make(into, width)


def built(name, into, width):
    """A block and how many channels it gives.

    The number is taken from the module: one that a module keeps beside a
    parameter may be what it computes with, and pins.
    """
    made = BLOCKS[name](into, width)
    return made, made.__dict__.pop('out')


class Between(Block):
    """What a function makes of a map that has its first norm behind it."""

    multiple = 1
    has_own_channels = True

    def make(self, into, width):
        width = rounded(width, self.multiple)
        self.conv, self.norm = conv(into, width, 3), nn.BatchNorm2d(width)
        self.out = self.apply_to(torch.zeros(1, width, 8, 8)).shape[1]

    def forward(self, x):
        return self.apply_to(self.norm(self.conv(x)))


def between(expected, multiple=1, is_counted=True):
    """Enters a function of a map as a block; see `Between`."""

    def enter(function):
        facts = dict(
            apply_to=staticmethod(function),
            multiple=multiple,
            is_counted=is_counted,
        )
        block(expected)(type(function.__name__, (Between,), facts))
        return function

    return enter


def ramp(like, count, low=-1.0, high=1.0):
    """Numbers from `low` to `high`, of the kind of another tensor."""
    return torch.linspace(
        low, high, count, dtype=like.dtype, device=like.device
    )
