"""Blocks that move channels to other positions, or pick some of them.

A cut moves what stands behind it, so a position is no channel's own.
"""

import torch
import torch.nn.functional as F

from .block import Block, between, block, conv


@between('none')
def rolled(y):
    return y.roll(1, dims=1)


@between('none')
def rolled_flat(y):
    return y.flatten(1).roll(3).view_as(y)


@between('all')
def rolled_in_space(y):
    return y.roll((1, 2), dims=(2, 3))


@between('either')
def first_channel_last(y):
    return torch.cat((y[:, 1:], y[:, :1]), 1)


@between('either')
def uneven_parts_swapped(y):
    return torch.cat(y.tensor_split(2, 1)[::-1], 1)


@between('either')
def parts_of_three(y):
    return torch.cat(y.tensor_split(3, 1), 1).relu()


@between('all', multiple=2)
def halves_swapped(y):
    return torch.cat(y.chunk(2, 1)[::-1], 1)


@between('either')
def lower_half_by_width(y):
    half = y.shape[1] // 2
    return torch.cat((y[:, half:], y[:, :half].relu()), 1)


@between('either')
def all_but_the_last(y):
    return y[:, :-1] if y.shape[1] > 1 else y


@between('either')
def reversed_channels(y):
    return y.flip(1)


@between('all')
def reversed_in_space(y):
    return y.flip((2, 3))


@between('either')
def every_other_channel(y):
    return y[:, ::2]


@between('all')
def every_other_position(y):
    small = y[..., ::2, ::2]
    return small.repeat_interleave(2, 2).repeat_interleave(2, 3)


@between('either')
def counted_order(y):
    order = torch.arange(y.shape[1] - 1, -1, -1)
    return y.index_select(1, order)


@block('either')
class FixedOrder(Block):
    def make(self, into, width):
        self.conv = conv(into, width)
        self.register_buffer('order', torch.randperm(width))

    def forward(self, x):
        return self.conv(x)[:, self.order]


@block('either')
class TakenTwice(Block):
    """A channel stands at two positions of what is read next."""

    def make(self, into, width):
        self.a, self.b = conv(into, width), conv(2, width)

    def forward(self, x):
        y = self.a(x)
        return self.b(y[:, [0, 0]]) + y


@between('either')
def gathered(y):
    order = torch.arange(y.shape[1]).flip(0).view(1, -1, 1, 1)
    return y.gather(1, order.expand(y.shape))


@between('either')
def scattered(y):
    order = torch.arange(y.shape[1]).flip(0).view(1, -1, 1, 1)
    return torch.zeros_like(y).scatter(1, order.expand(y.shape), y)


@between('either', multiple=2)
def shuffled(y):
    return F.channel_shuffle(y, 2)


@between('all')
def space_to_depth(y):
    return F.interpolate(F.pixel_unshuffle(y, 2), scale_factor=2.0)


@between('all')
def there_and_back(y):
    return F.pixel_shuffle(F.pixel_unshuffle(y, 2), 2)


@between('all')
def focus(y):
    parts = [y[..., i::2, j::2] for j in (0, 1) for i in (0, 1)]
    return F.interpolate(torch.cat(parts, 1), scale_factor=2.0)


@between('all')
def repeated(y):
    return y.repeat(1, 2, 1, 1)


@between('all')
def each_twice(y):
    return y.repeat_interleave(2, 1)


@between('all')
def interleaved(y):
    return torch.stack((y, y.relu()), 2).flatten(1, 2)


@between('all')
def stacked(y):
    a, b = torch.stack((y, y.tanh())).unbind(0)
    return a * b


@between('all')
def broadcast(y):
    wide = y.unsqueeze(1).expand(-1, 3, -1, -1, -1)
    return wide.sum(1)


@between('all')
def one_taken_away(y):
    return y.unsqueeze(2).squeeze(2) + y[:, :, None, 0]


@between('all')
def channels_last(y):
    return y.permute(0, 2, 3, 1).contiguous().relu().movedim(-1, 1)


@between('all')
def space_transposed(y):
    return y.transpose(2, 3) + y.mT.relu()


@between('all')
def columns_of_patches(y):
    patches = F.unfold(y, 3, padding=1)
    return F.fold(patches * 0.5, y.shape[-2:], 3, padding=1)


@block('all')
class Unfolded(Block):
    """A convolution written as a product with columns of patches."""

    def make(self, into, width):
        self.conv = conv(into, width, 3)

    def forward(self, x):
        patches = F.unfold(x, 3, padding=1)
        flat = self.conv.weight.flatten(1) @ patches
        return flat.unflatten(2, x.shape[-2:])


@block('all')
class DenselyJoined(Block):
    """DenseNet: every layer reads all before it."""

    def make(self, into, width):
        self.out = into + 2 * width
        self.a, self.b = conv(into, width, 3), conv(into + width, width)

    def forward(self, x):
        x = torch.cat((x, self.a(x).relu()), 1)
        return torch.cat((x, self.b(x).relu()), 1)


@between('all')
def written_in_place(y):
    y = y.clone()
    y[..., ::2] = 0
    return y


@between('all')
def written_into_nothing(y):
    new = torch.empty_like(y)
    new[..., ::2] = y[..., ::2]
    new[..., 1::2] = y[..., 1::2].relu()
    return new


@between('either')
def written_side_by_side(y):
    n, c, h, w = y.shape
    new = y.new_empty(n, 2 * c, h, w)
    new[:, :c] = y
    new[:, c:] = y.relu()
    return new


@between('either')
def one_channel_overwritten(y):
    y = y.clone()
    y[:, 0] = 1.5
    return y


@between('either')
def neighbours_shifted(y):
    """TSM within a map: some channels move by one position in space."""
    part = y.shape[1] // 4
    moved = torch.zeros_like(y)
    moved[:, :part, 1:] = y[:, :part, :-1]
    moved[:, part:] = y[:, part:]
    return moved


@between('either')
def zeros_at_both_ends(y):
    """The shortcut of small ResNets, where channels are padded."""
    return F.pad(y, (0, 0, 0, 0, 1, 2))


@between('either')
def empty_channels_behind(y):
    n, _, h, w = y.shape
    return torch.cat((y, y.new_zeros(n, 2, h, w)), 1)


@between('all')
def copied_into_zeros(y):
    return y.new_zeros(y.shape).copy_(y)


@between('either', multiple=2)
def mean_of_two_halves(y):
    return y.unflatten(1, (2, -1)).mean(1)


@block('either')
class NamedWidth(Block):
    """A view whose length is a number that the module keeps."""

    def make(self, into, width):
        self.channels = width
        self.a = conv(into, width)

    def forward(self, x):
        n, _, h, w = x.shape
        return self.a(x).flatten(2).view(n, self.channels, h, w)


@block('all')
class SuperResolution(Block):
    """Many more channels than positions are shuffled into a small map."""

    def make(self, into, width):
        self.out = 2 * width
        self.a = conv(into, 8 * width)

    def forward(self, x):
        return F.pixel_shuffle(self.a(F.avg_pool2d(x, 2)).relu(), 2)
