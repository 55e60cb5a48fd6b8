"""Toy networks of patterns that people write and that are easily refused."""

import torch
import torch.nn.functional as F
from torch import nn

from .toy_networks import conv, toy

FREE = {'a': '4: a:0 a.bias:0 b:1'}


class Between(nn.Module):
    """Two convolutions with a function between them."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 2)

    def forward(self, x):
        return self.b(self.between(self.a(x)))


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


@toy({'a': '4: a:0 a.bias:0 filter:0 b:1', 'b': '5: b:0 b.bias:0 c:1'})
class SpectralFilter(nn.Module):
    """A learned complex filter per channel and frequency, stored as pairs."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(4, 5), conv(5, 2)
        self.filter = nn.Parameter(torch.randn(4, 8, 5, 2))

    def forward(self, x):
        x = self.a(x)
        spectrum = torch.fft.rfft2(x, norm='ortho')
        spectrum = spectrum * torch.view_as_complex(self.filter)
        x = torch.fft.irfft2(spectrum, s=x.shape[-2:], norm='ortho')
        return self.c(self.b(x).relu())


@toy(
    {
        'a': '4: a:0 a.bias:0 b:1',
        'b': '5: b:0 b.bias:0 c:1',
        'c': '6: c:0 c.bias:0 d:1',
    }
)
class ComplexLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = conv(3, 4, dtype=torch.cdouble)
        self.b = conv(4, 5, 3, dtype=torch.cdouble)
        self.c = nn.Linear(5, 6, dtype=torch.cdouble)
        self.d = nn.Linear(6, 2)

    def forward(self, x):
        x = self.b(self.a(x.to(torch.cdouble))).mean((2, 3))
        return self.d(self.c(x).abs().to(self.d.weight))


@toy(
    {'b': '5: b:0 b.bias:0 c:1'},
    pinned={'a': 'transforms over channels'},
)
class TransformOverChannels(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(4, 5), conv(5, 2)

    def forward(self, x):
        return self.c(self.b(torch.fft.fft(self.a(x), dim=1).abs()))


@toy(FUSED, pinned={'weights': 'it is broadcast over channels'})
class ScaledKernel(Fused):
    """A number that is spread over a weight."""

    def fuse(self, a, b):
        return (a + b) * self.weights[0]

    def forward(self, x):
        x = self.fuse(self.a(x), self.b(x))
        return F.conv2d(x, self.weights[1] * self.c.weight, self.c.bias)


@toy(FREE)
class WithinChannels(Between):
    """Each of these acts on every channel by itself."""

    def between(self, x):
        x = x.roll(1, 2).rot90(1, (2, 3)).tril()
        x = F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)
        x = F.fold(F.unfold(x, 3), x.shape[2:], 3)
        x = torch.diag_embed(x.diagonal(dim1=2, dim2=3), dim1=2, dim2=3)
        x = x.gather(2, x.argsort(2)).unfold(3, 4, 2).amax(-1)
        return F.interpolate(x, 6, mode='bicubic', antialias=True)


@toy(FREE)
class Spectrogram(Between):
    """Torch cuts a signal into frames by their places in memory."""

    def between(self, x):
        window = torch.ones(8)
        signal = x.flatten(0, 1).flatten(1)
        frames = torch.stft(signal, 8, window=window, return_complex=True)
        back = torch.istft(frames * 2, 8, window=window, length=64)
        return back.view(x.shape)


@toy({}, pinned={'a': 'aten.roll.default in the model moves channels'})
class Rolled(Between):
    def between(self, x):
        return x.roll(1, 1)


@toy({}, pinned={'a': 'aten.unfold.default in the model moves channels'})
class SlidingWindow(Between):
    def between(self, x):
        return F.pad(x, (0, 0, 0, 0, 1, 1)).unfold(1, 3, 1).sum(-1)


@toy({}, pinned={'a': 'aten.diagonal.default in the model moves channels'})
class DiagonalOverChannels(Between):
    def between(self, x):
        return x.diagonal(0, 1, 2).transpose(1, 2)[..., None]


@toy({}, pinned={'a': 'aten.tril.default in the model moves channels'})
class TriangleOverChannels(Between):
    def between(self, x):
        return x.transpose(1, 3).tril().transpose(1, 3)


class Blurred(Between):
    """Every channel is filtered with the same kernel, which is no weight."""

    def __init__(self):
        super().__init__()
        self.register_buffer('kernel', torch.rand(1, 1, 3, 3))


@toy(FREE)
class BlurPool(Blurred):
    def between(self, x):
        width = x.shape[1]
        kernel = self.kernel.repeat(width, 1, 1, 1)
        x = F.conv2d(x.sigmoid(), kernel, stride=2, padding=1, groups=width)
        kernel = self.kernel.expand(width, 1, 3, 3)
        x = F.conv_transpose2d(x, kernel, stride=2, groups=width)
        ones = x.new_ones(width, 1, 3, 3) / 9
        return F.conv2d(x, ones, groups=width)


@toy(FREE)
class BlurOfSamples(Blurred):
    """As many samples as channels, of one channel each."""

    def between(self, x):
        y = F.conv2d(x.flatten(0, 1)[:, None], self.kernel, padding=1)
        return F.avg_pool2d(y, 3, 1, 1).view(x.shape)


@toy({}, pinned={'a': 'a size is written in Python: aten.convolution.default'})
class BlurOfFour(Blurred):
    def between(self, x):
        return F.conv2d(x, self.kernel.repeat(4, 1, 1, 1), groups=4)


@toy({}, pinned={'a': 'it meets something of fixed size'})
class BlurOfItsOwn(Between):
    """What each channel is filtered with depends on its number."""

    def between(self, x):
        kernel = torch.arange(x.shape[1]).to(x)[:, None, None, None]
        return F.conv2d(x, kernel, groups=x.shape[1])


@toy({'a': '4: a:0 a.bias:0 up:0 up.bias:0*3 b:1*3'})
class TransposedDepthwise(nn.Module):
    """Three maps are made of every channel."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(12, 2)
        self.up = nn.ConvTranspose2d(4, 12, 4, 2, 1, groups=4)

    def forward(self, x):
        return self.b(self.up(self.a(x)).relu())


@toy(
    {'a': '4: a:0 a.bias:0 b:1'},
    pinned={'mix': 'mixes positions within a channel'},
)
class ConvolvedTokens(Between):
    """A convolution that takes positions for channels (MLP-Mixer)."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv1d(64, 64, 1)

    def between(self, x):
        y = self.mix(x.flatten(2).transpose(1, 2)).transpose(1, 2)
        return x + y.view(x.shape)


@toy(FREE)
class AttentionInChannels(Between):
    """Rows of a map attend to each other, in every channel by itself."""

    def between(self, x):
        norms = torch.einsum('bchw,bchw->bc', x, x)
        return (x @ x.mT).softmax(-1) @ x + norms[..., None, None]
