"""Standardised kernels of narrow models, without chex_mm.

mmcv standardises each row of a kernel over all that the row reads. What a cut
took away were zeros, so mean and deviation stay what they were if as many
zeros are counted. This is the one place that replaces methods of mmcv for
good; where no column is missing, they do what they did.
"""

from functools import wraps

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.conv_ws import ConvAWS2d, ConvWS2d

for _kind in (ConvWS2d, ConvAWS2d):
    _kind.missing_columns = 0  # dense columns that the kernel no longer has


def _if_cut(kind, name):
    """Puts the decorated function in place of a method of narrow modules."""
    stock = getattr(kind, name)

    def replace(function):
        @wraps(stock)
        def method(self, *args, **kwargs):
            chosen = function if self.missing_columns else stock
            return chosen(self, *args, **kwargs)

        setattr(kind, name, method)
        return function

    return replace


def _rows(module, weight):
    """(out, all that a row of the dense kernel reads), zeros at the end."""
    area = weight.shape[2] * weight.shape[3]
    return F.pad(weight.flatten(1), (0, module.missing_columns * area))


@_if_cut(ConvWS2d, 'forward')
def _convolve(module, x):
    rows = _rows(module, module.weight)
    mean = rows.mean(1).view(-1, 1, 1, 1)
    std = rows.std(1).view(-1, 1, 1, 1)
    weight = (module.weight - mean) / (std + module.eps)
    weight = weight.view(module.weight.shape)  # exporters lose it
    return F.conv2d(
        x,
        weight,
        module.bias,
        module.stride,
        module.padding,
        module.dilation,
        module.groups,
    )


@_if_cut(ConvAWS2d, '_get_weight')
def _standardise(module, weight):
    rows = _rows(module, weight)
    mean = rows.mean(1).view(-1, 1, 1, 1)
    std = torch.sqrt(rows.var(1) + 1e-5).view(-1, 1, 1, 1)
    found = module.weight_gamma * ((weight - mean) / std) + module.weight_beta
    return found.view(weight.shape)  # exporters lose it
