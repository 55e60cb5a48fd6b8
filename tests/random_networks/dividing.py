"""Blocks that divide a map by something of its own, which zeros make zero.

A masked channel is zero everywhere: 0 / 0 and log(0) must not be computed of
it, and gradients of what is computed must be finite as well.
"""

import torch
import torch.nn.functional as F

from .block import between

SPACE = dict(dim=(2, 3), keepdim=True)
DIVIDING = set()


def dividing(expected):
    """Enters a block, and its name into DIVIDING."""

    def enter(function):
        DIVIDING.add(function.__name__)
        return between(expected)(function)

    return enter


@dividing('none')
def over_its_sum(y):
    return 64 * y.abs() / y.abs().sum(**SPACE)


@dividing('none')
def over_its_mean(y):
    return y / y.square().mean(**SPACE)


@dividing('none')
def over_its_largest(y):
    return y / y.abs().amax(**SPACE)


@dividing('none')
def over_its_norm(y):
    return 8 * y / y.norm(**SPACE)


@dividing('none')
def over_its_deviation(y):
    return (y - y.mean(**SPACE)) / y.std(**SPACE)


@dividing('none')
def times_the_root_of_its_inverse(y):
    return y * y.square().mean(**SPACE).rsqrt()


@dividing('none')
def over_its_range(y):
    low, high = y.amin(**SPACE), y.amax(**SPACE)
    return (y - low) / (high - low)


@dividing('none')
def over_itself_pooled(y):
    return y.abs() / F.avg_pool2d(y.abs(), 3, 1, 1)


@dividing('none')
def logarithm(y):
    return y.square().log()


@dividing('none')
def logarithm_of_energy(y):
    return y + y.square().mean(**SPACE).log()


@dividing('none')
def reciprocal(y):
    return (y.abs().amax(**SPACE)).reciprocal() * y.sigmoid()


@dividing('none')
def negative_power(y):
    return y.square().sum(**SPACE).pow(-0.25) * y


@dividing('all')
def over_its_sum_and_something(y):
    return y / (y.abs().sum(**SPACE) + 1e-2)


@dividing('all')
def softmax_over_space(y):
    return 64 * y.flatten(2).softmax(2).view_as(y) - 1


@dividing('all')
def standardised_over_space(y):
    centred = y - y.mean(**SPACE)
    return centred * (y.var(**SPACE) + 1e-3).rsqrt()


@dividing('all')
def instance_norm(y):
    return F.instance_norm(y)


@dividing('all')
def logarithm_beside_one(y):
    return y.square().log1p()


# A root of zero is zero, but its slope is not finite.
@dividing('none')
def root_of_pooled_squares(y):
    return F.avg_pool2d(y.square(), 3, 1, 1).sqrt()


@dividing('none')
def root_of_magnitude(y):
    return y.abs().pow(0.5) * y


@dividing('either')
def norm_as_a_gate(y):
    return y * y.norm(**SPACE)


@dividing('either')
def unit_over_space(y):
    return F.normalize(y.flatten(2), dim=2).view_as(y)


@dividing('either')
def sign_of_its_own(y):
    return y.sign() + torch.where(y > 0, y, 0.1 * y)
