"""Blocks in which a number of channels decides, scales or is reduced.

A cut changes the number, and nothing that depends on it may be cut unless the
masked network has the same number.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .block import Block, between, block, conv, ramp


@between('none')
def bent_if_narrow(y):
    return y if y.shape[1] > 4 else y.relu()


@between('none')
def bent_if_wide(y):
    return y.sigmoid() if y.shape[1] > 5 else y


@between('none')
def scaled_if_very_narrow(y):
    return y if y.shape[1] > 2 else y * 3


@between('none')
def pooled_if_wide(y):
    return F.avg_pool2d(y, 3, 1, 1) if y.shape[1] > 4 else y


@between('none')
def as_many_rounds_as_channels(y):
    for _ in range(y.shape[1] // 3):
        y = y.tanh()
    return y


@between('none')
def window_by_width(y):
    half = y.shape[1] // 4
    return F.avg_pool2d(y, 2 * half + 1, 1, half)


@between('none')
def dilated_by_width(y):
    far = 1 + y.shape[1] // 4
    kernel = y.new_ones(y.shape[1], 1, 3, 3) / 9
    return F.conv2d(y, kernel, padding=far, dilation=far, groups=y.shape[1])


@between('none')
def scaled_by_width(y):
    return y * y.shape[1] ** -0.5


@between('none')
def moved_by_width(y):
    return y + 1 / y.size(1)


@between('none')
def divided_by_elements(y):
    return 64 * y / y[0].numel()


@between('none')
def clamped_by_width(y):
    return y.clamp(max=y.shape[1] / 8)


@between('none')
def slope_by_width(y):
    return F.leaky_relu(y, 1 / y.shape[1])


@between('none')
def filled_by_width(y):
    return y * torch.full_like(y, y.shape[1] / 8)


@block('either')
class SumIfEqual(Block):
    """A shortcut only where shapes happen to be the same."""

    has_own_channels = True

    def make(self, into, width):
        self.out = 2 * width
        self.a, self.b = conv(into, width), conv(width, 2 * width)

    def forward(self, x):
        y = self.a(x)
        z = self.b(y)
        return z + y if z.shape == y.shape else z.relu()


@block('either')
class AfterTheReader(Block):
    """A number taken from one group is applied to another."""

    def make(self, into, width):
        self.a, self.b = conv(into, width, 3), conv(width, width)

    def forward(self, x):
        y = self.a(x).relu()
        return self.b(y) / y.shape[1] ** 0.5


@block('either')
class AskedOfTheLayer(Block):
    """The number is an attribute of the layer that it scales."""

    def make(self, into, width):
        self.a, self.b = conv(into, width, 3), conv(width, width)

    def forward(self, x):
        y = self.a(x).relu()
        return (self.b(y) * self.b.in_channels**-0.5).relu()


@block('either')
class EqualisedRate(Block):
    """StyleGAN: weights are scaled by their fan-in when they are used."""

    def make(self, into, width):
        self.conv = conv(into, width, 3)

    def forward(self, x):
        weight = self.conv.weight
        gain = (2 / (weight.shape[1] * 9)) ** 0.5
        return F.conv2d(x, weight * gain, self.conv.bias, padding=1).relu()


@block('either')
class SigmoidOfMean(Block):
    """The number lies behind an operator that is not linear."""

    def make(self, into, width):
        self.a, self.b = conv(into, width, 3), conv(width, width)

    def forward(self, x):
        y = self.a(x)
        return torch.sigmoid(self.b(y) / y.shape[1])


@block('either')
class Correlation(Block):
    """Two maps are compared at every shift; the mean product is a channel."""

    def make(self, into, width):
        self.a, self.b = conv(into, width, 3), conv(2, width)

    def forward(self, x):
        y = self.a(x)
        products = [y * y.roll(shift, 2) for shift in (0, 1)]
        sums = [each.sum(1, keepdim=True) for each in products]
        return self.b(torch.cat(sums, 1) / y.shape[1])


@block('either')
class ChannelStatistics(Block):
    """Mean and deviation over channels are two more channels."""

    def make(self, into, width):
        self.out = width + 2
        self.a = conv(into, width)

    def forward(self, x):
        y = self.a(x)
        mean = y.mean(1, keepdim=True)
        spread = y.var(1, keepdim=True, correction=0)
        return torch.cat((y, mean, spread), 1)


@between('either')
def summed_over_channels(y):
    return y.sum(1, keepdim=True)


@between('none')
def mean_over_channels(y):
    return y * y.mean(1, keepdim=True)


@between('none')
def largest_over_channels(y):
    return y * y.amax(1, keepdim=True)


@between('none')
def softmax_over_channels(y):
    return y.softmax(1)


@between('none')
def place_of_the_largest(y):
    return y * y.argmax(1, keepdim=True).to(y.dtype)


@between('none')
def largest_two(y):
    return y.topk(min(2, y.shape[1]), 1).values


@between('none')
def sorted_channels(y):
    return y.sort(1).values


@between('either')
def running_sum(y):
    return y.cumsum(1)


@between('none')
def running_mean(y):
    counts = torch.arange(1, y.shape[1] + 1).view(1, -1, 1, 1)
    return y.cumsum(1) / counts.to(y.dtype)


@between('either')
def unit_vectors(y):
    return F.normalize(y, dim=1)


@between('none')
def standardised_over_channels(y):
    mean = y.mean(1, keepdim=True)
    return (y - mean) / (y.var(1, keepdim=True, correction=0) + 0.1).sqrt()


@between('none')
def differences_of_neighbours(y):
    return torch.cat((y[:, :1], y.diff(dim=1)), 1)


@between('none')
def weighed_by_position(y):
    return y * ramp(y, y.shape[1]).view(1, -1, 1, 1)


@between('either')
def constant_gates(y):
    return y * y.new_full((1, y.shape[1], 1, 1), 0.5)


@between('either')
def through_identity(y):
    return F.conv2d(y, torch.eye(y.shape[1], dtype=y.dtype)[..., None, None])


@between('none')
def channels_attend_to_channels(y):
    flat = y.flatten(2)
    weights = (flat @ flat.mT / 64).softmax(-1)
    return (weights @ flat).view_as(y)


@between('none')
def local_response(y):
    return F.local_response_norm(y, 3, alpha=0.5)


@between('none')
def most_over_neighbours(y):
    return F.max_pool1d(y.flatten(2).mT, 3, stride=1, padding=1).mT.reshape(
        y.shape
    )


@block('none')
class Eca(Block):
    """ECA-Net: a convolution over the channels themselves."""

    has_own_channels = True

    def make(self, into, width):
        self.a = conv(into, width)
        self.mix = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        y = self.a(x)
        gate = self.mix(y.mean((2, 3)).unsqueeze(1)).squeeze(1)
        return y * gate.sigmoid()[..., None, None]


@between('none')
def pooled_over_channels(y):
    y = F.avg_pool3d(y.unsqueeze(1), (3, 1, 1), 1, (1, 0, 0))
    return y.squeeze(1)


@block('all')
class ConstantScale(Block):
    """A number that was computed once, and stays in a narrow copy."""

    def make(self, into, width):
        self.a = conv(into, width, 3)
        self.scale = width**-0.5

    def forward(self, x):
        return self.a(x).relu() * self.scale


@between('either')
def above_the_mean_of_all(y):
    return torch.where(y > y.mean((1, 2, 3), keepdim=True), y, 0.1 * y)
