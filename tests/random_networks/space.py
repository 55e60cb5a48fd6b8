"""Blocks that act on space and positions, every channel by itself.

All channels can be cut, however unusual the operator.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .block import Block, between, block, conv, ramp


@between('all')
def blurred(y):
    kernel = y.new_ones(1, 1, 3, 3) / 9
    kernel = kernel.repeat(y.shape[1], 1, 1, 1)
    return F.conv2d(y, kernel, padding=1, groups=y.shape[1])


@block('all')
class BlurPool(Block):
    """Its kernel is a buffer of one channel."""

    def make(self, into, width):
        self.a = conv(into, width, 3)
        self.register_buffer('kernel', torch.rand(1, 1, 3, 3) / 9)

    def forward(self, x):
        y = self.a(x).relu()
        kernel = self.kernel.expand(y.shape[1], -1, -1, -1)
        y = F.conv2d(y, kernel, stride=2, padding=1, groups=y.shape[1])
        return F.interpolate(y, scale_factor=2, mode='nearest')


@between('either')
def edges(y):
    n, c, h, w = y.shape
    kernel = y.new_tensor([[[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]]])
    return F.conv2d(y.reshape(n * c, 1, h, w), kernel, padding=1).view_as(y)


@between('all')
def filtered_by_frequency(y):
    waves = torch.fft.rfft2(y, norm='ortho')
    return torch.fft.irfft2(waves * 0.5, s=y.shape[-2:], norm='ortho')


@between('either')
def whole_spectrum(y):
    return torch.fft.fft2(y, norm='ortho').real


@between('either')
def spectrum_over_channels(y):
    return torch.fft.fft(y, dim=1).real


@between('either')
def complex_and_back(y):
    pairs = torch.stack((y, y.relu()), -1)
    turned = torch.view_as_complex(pairs) * 1j
    return torch.view_as_real(turned)[..., 0].contiguous()


@block('either')
class SpectralFilter(Block):
    """GFNet, FNO: a learned filter of every channel's frequencies."""

    def make(self, into, width):
        self.a = conv(into, width)
        self.filter = nn.Parameter(torch.randn(width, 8, 5, 2))

    def forward(self, x):
        y = F.interpolate(self.a(x), (8, 8))
        waves = torch.fft.rfft2(y, norm='ortho')
        waves = waves * torch.view_as_complex(self.filter)
        y = torch.fft.irfft2(waves, s=(8, 8), norm='ortho')
        return F.interpolate(y, x.shape[-2:])


@between('all')
def down_and_up(y):
    small = F.avg_pool2d(y, 2)
    return F.interpolate(small, scale_factor=2, mode='bilinear')


@between('all')
def bicubic(y):
    small = F.interpolate(y, (5, 6), mode='bicubic')
    return F.interpolate(small, y.shape[-2:], mode='bicubic')


@between('all')
def pooled_adaptively(y):
    pooled = F.adaptive_avg_pool2d(y, 2) + F.adaptive_max_pool2d(y, 2)
    return F.interpolate(pooled, y.shape[-2:])


@between('all')
def global_context(y):
    return y + y.amax((2, 3), keepdim=True) * y.mean((2, 3), keepdim=True)


@between('all')
def sampled(y):
    line = ramp(y, y.shape[-1])
    grid = torch.stack(torch.meshgrid(line, line.square(), indexing='xy'), -1)
    grid = grid.expand(y.shape[0], -1, -1, -1)
    return F.grid_sample(y, grid, align_corners=False)


@between('all')
def padded(y):
    y = F.pad(y, (1, 1, 1, 1), mode='reflect')
    return F.max_pool2d(F.pad(y, (0, 1, 0, 1), value=0.5), 4, 1)


@between('all')
def running_in_space(y):
    return y.cumsum(2) / 8


@between('all')
def sorted_in_space(y):
    return y.flatten(2).sort(2).values.view_as(y)


@between('all')
def largest_positions(y):
    best = y.flatten(2).topk(4, 2).values
    return y * best.sum(2)[..., None, None]


@between('all')
def median_over_space(y):
    return y - y.flatten(2).median(2).values[..., None, None]


@between('all')
def pooled_with_places(y):
    values, places = F.max_pool2d(y, 2, return_indices=True)
    return F.max_unpool2d(values, places, 2)


@between('all')
def pool_of_norms(y):
    return F.avg_pool2d(y.pow(2), 3, 1, 1) - F.lp_pool2d(
        F.pad(y, (1, 1, 1, 1)), 1, 3, 1
    )


@block(16)
class TokenMixing(Block):
    """MLP-Mixer: linear layers over positions."""

    def make(self, into, width):
        self.a = conv(into, width)
        self.up, self.down = nn.Linear(16, 9), nn.Linear(9, 16)

    def forward(self, x):
        y = F.avg_pool2d(self.a(x), x.shape[-1] // 4)
        y = y + self.down(F.gelu(self.up(y.flatten(2)))).view_as(y)
        return F.interpolate(y, x.shape[-2:])


@block(16)
class SpatialSum(Block):
    """An einsum over positions with weights of their own."""

    def make(self, into, width):
        self.a = conv(into, width)
        self.places = nn.Parameter(torch.randn(64, 64) / 8)

    def forward(self, x):
        y = self.a(x)
        small = F.interpolate(y, (8, 8)).flatten(2)
        mixed = torch.einsum('nci,ij->ncj', small, self.places)
        return F.interpolate(mixed.unflatten(2, (8, 8)), x.shape[-2:])


@block('all')
class Lines(Block):
    """A branch of one dimension: a convolution along the flattened map."""

    def make(self, into, width):
        self.a = nn.Conv1d(into, width, 3, padding=1)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x):
        return (
            self.norm(self.a(x.flatten(2)))
            .relu()
            .view(x.shape[0], -1, *x.shape[2:])
        )


@block('all')
class Volumes(Block):
    """A branch of three dimensions."""

    def make(self, into, width):
        self.a = nn.Conv3d(into, width, 3, padding=1)
        self.norm = nn.BatchNorm3d(width)
        self.up = nn.ConvTranspose3d(width, width, 1)

    def forward(self, x):
        deep = torch.stack((x, x.relu()), 2)
        return self.up(self.norm(self.a(deep)).relu()).amax(2)


@block('all')
class SeparateLines(Block):
    """A kernel of a column, then one of a row."""

    def make(self, into, width):
        self.a = nn.Conv2d(into, width, (3, 1), padding=(1, 0))
        self.b = nn.Conv2d(width, width, (1, 3), padding=(0, 1))

    def forward(self, x):
        return self.b(self.a(x)).relu()


@block('all')
class Spp(Block):
    """SPPF: pooled again and again, and all of it joined."""

    def make(self, into, width):
        self.a, self.b = conv(into, width), conv(4 * width, width)

    def forward(self, x):
        parts = [self.a(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 3, 1, 1))
        return self.b(torch.cat(parts, 1))


@block('all')
class Aspp(Block):
    """Several rates of dilation and the whole image, joined."""

    def make(self, into, width):
        self.a, self.image = conv(into, width), conv(into, width)
        self.b = nn.Conv2d(into, width, 3, padding=2, dilation=2)
        self.join = conv(3 * width, width)

    def forward(self, x):
        whole = self.image(x.mean((2, 3), keepdim=True)).expand(
            -1, -1, *x.shape[2:]
        )
        parts = self.a(x).relu(), self.b(x).relu(), whole
        return self.join(torch.cat(parts, 1))


@between('all')
def above_its_mean(y):
    return torch.where(y > y.mean((2, 3), keepdim=True), y, 0.1 * y)


@between('all')
def turned_in_space(y):
    return y.rot90(1, (2, 3)) + y.rot90(2, (2, 3)).relu()
