"""Blocks with autograd functions of their own, which hide what they compute.

A function without a rule runs as the operators that it is made of, whether it
returns something new, its input, or what it has overwritten.
"""

import torch
import torch.utils.checkpoint
from torch import nn

from .block import Block, between, block, conv


class Swish(torch.autograd.Function):
    """Something new is returned."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        gate = x.sigmoid()
        return grad * gate * (1 + x * (1 - gate))


class Reversed(torch.autograd.Function):
    """The input is returned; only its gradient turns."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -0.1 * grad


class Returned(torch.autograd.Function):
    """The very input is returned."""

    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, grad):
        return grad


class Overwritten(torch.autograd.Function):
    """The input is changed in place."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(0.5)

    @staticmethod
    def backward(ctx, grad):
        return 0.5 * grad


class RolledUp(torch.autograd.Function):
    """Channels move inside."""

    @staticmethod
    def forward(ctx, x):
        return x.roll(1, 1)

    @staticmethod
    def backward(ctx, grad):
        return grad.roll(-1, 1)


class Rounded(torch.autograd.Function):
    """Whole steps, with the gradient of a straight line."""

    @staticmethod
    def forward(ctx, x):
        return (4 * x).round() / 4

    @staticmethod
    def backward(ctx, grad):
        return grad


@between('all')
def swish_of_its_own(y):
    return Swish.apply(y)


@between('all')
def reversed_gradient(y):
    return Reversed.apply(y)


@between('either')
def returned_input(y):
    return Returned.apply(y)


@between('either')
def overwritten_input(y):
    return Overwritten.apply(y.clone())


@between('none')
def rolled_inside(y):
    return RolledUp.apply(y)


@between('all')
def rounded_values(y):
    return Rounded.apply(y)


@between('all')
def straight_through(y):
    return y + (y.sign() - y).detach()


@block('all')
class Checkpointed(Block):
    """Computed again in the backward pass."""

    def make(self, into, width):
        self.a, self.b = conv(into, width), conv(width, width)

    def forward(self, x):
        return torch.utils.checkpoint.checkpoint(
            lambda x: self.b(self.a(x).relu()), x, use_reentrant=False
        )


@block('all')
class HookedLayer(Block):
    """A hook changes what a layer returns."""

    def make(self, into, width):
        self.a, self.norm = conv(into, width), nn.BatchNorm2d(width)
        self.a.register_forward_hook(lambda module, args, out: 2 * out)

    def forward(self, x):
        return self.norm(self.a(x))
