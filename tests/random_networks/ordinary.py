"""The blocks that networks are mostly made of: all of them can be cut."""

import torch
import torch.nn.functional as F
from torch import nn

from .block import Block, block, conv, ramp


def even(into):
    return into - into % 2


@block('all')
class Plain(Block):
    def make(self, into, width):
        self.conv, self.norm = conv(into, width, 3), nn.BatchNorm2d(width)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


@block('all')
class Grouped(Block):
    def make(self, into, width):
        self.out = even(width)
        self.a, self.b = (
            conv(into, self.out),
            conv(self.out, self.out, 3, groups=2),
        )

    def forward(self, x):
        return F.silu(self.b(self.a(x)))


@block('all')
class Depthwise(Block):
    def make(self, into, width):
        self.out = into
        self.deep = conv(into, into, 3, groups=into, bias=False)
        self.norm = nn.BatchNorm2d(into)

    def forward(self, x):
        return F.hardswish(self.norm(self.deep(x)))


@block('all')
class GroupNorm(Block):
    def make(self, into, width):
        self.out = even(width)
        self.conv = conv(into, self.out)
        self.norm = nn.GroupNorm(self.out // 2, self.out)

    def forward(self, x):
        return torch.sigmoid(self.norm(self.conv(x)))


@block('all')
class Residual(Block):
    def make(self, into, width):
        self.out = into
        self.a, self.norm, self.b = (
            conv(into, width),
            nn.BatchNorm2d(width),
            conv(width, into),
        )

    def forward(self, x):
        return x + self.b(self.norm(self.a(x)).sigmoid())


@block('all')
class Concat(Block):
    def make(self, into, width):
        self.out = into + width
        self.a = conv(into, width, 3)

    def forward(self, x):
        return torch.cat((self.a(x), x), 1)


@block('all')
class Split(Block):
    def make(self, into, width):
        half = max(width // 2, 1)
        self.out = 2 * half
        self.a, self.b = conv(into, self.out), conv(half, half)

    def forward(self, x):
        left, right = self.a(x).chunk(2, 1)
        return torch.cat((left, self.b(right).relu()), 1)


@block(14)
class ConstantSlice(Block):
    def make(self, into, width):
        self.out = into + width
        self.taken = max(into // 3, 1)
        self.a = conv(self.taken, width)

    def forward(self, x):
        return torch.cat((x, self.a(x[:, : self.taken])), 1)


@block('all')
class Shuffle(Block):
    def make(self, into, width):
        self.out = even(width)
        self.a = conv(into, self.out)

    def forward(self, x):
        x = self.a(x)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


@block('all')
class PixelShuffle(Block):
    def make(self, into, width):
        self.out = max(width // 4, 1)
        self.a = conv(into, 4 * self.out, stride=2)

    def forward(self, x):
        return F.pixel_shuffle(self.a(x), 2)


@block('all')
class Transposed(Block):
    def make(self, into, width):
        self.a = nn.ConvTranspose2d(into, width, 2, 2)

    def forward(self, x):
        return F.max_pool2d(self.a(x).relu(), 2)


@block('all')
class Gate(Block):
    def make(self, into, width):
        self.out = into
        self.down, self.up = conv(into, width), conv(width, into)

    def forward(self, x):
        gate = self.up(self.down(x.mean((2, 3), keepdim=True)).relu())
        return x * gate.sigmoid()


@block('all')
class Shared(Block):
    def make(self, into, width):
        self.out = into
        self.conv = conv(into, into, 3)

    def forward(self, x):
        return self.conv(self.conv(x).relu())


@block(16)
class WithCoordinates(Block):
    def make(self, into, width):
        self.a = conv(into + 2, width)

    def forward(self, x):
        n, _, h, w = x.shape
        places = ramp(x, h * w).view(1, 1, h, w)
        return self.a(torch.cat((places.expand(n, 2, h, w), x), 1))
