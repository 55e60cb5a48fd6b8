"""Operators of torchvision on regions and sampled positions.

Where to look is data and stays as it is; what is looked at keeps its
channels. They are known by name: torchvision need not be there.
"""

from __future__ import annotations

from ..labels import spread
from .products import Operands, convolution
from .table import rule, zeros
from .vanishing import kept

CROPS = 'torchvision::roi_align', 'torchvision::roi_pool'
SCORE_MAPS = 'torchvision::ps_roi_align', 'torchvision::ps_roi_pool'
zeros(*CROPS, *SCORE_MAPS)(kept)


@rule(*CROPS)
def crop(flow, call):
    _pin_positions(flow, call, 'rois')
    vector = flow.vector(call['input'], 1)
    return tuple(spread(vector, out.shape, 1) for out in call.outs)


@rule(*SCORE_MAPS)
def crop_by_position(flow, call):
    """Every bin of an output channel has an input channel of its own."""
    _pin_positions(flow, call, 'rois')
    bins = call['pooled_height'] * call['pooled_width']
    members = flow.vector(call['input'], 1).view(-1, bins)
    flow.tie(members[:, :1].expand_as(members), members)
    return tuple(spread(members[:, 0], out.shape, 1) for out in call.outs)


@rule('torchvision::deform_conv2d')
def deform(flow, call):
    """The same slot of every offset group is one channel."""
    _pin_positions(flow, call, 'offset', 'mask')
    slots = flow.vector(call['input'], 1).view(call['offset_groups'], -1)
    flow.tie(slots[:1].expand_as(slots), slots)
    names = 'input', 'weight', 'bias', 'groups'
    return convolution(flow, call, Operands(*(call[n] for n in names)))


@zeros('torchvision::deform_conv2d')
def filtered(flow, call) -> bool:
    """By a row of zeros, and a bias of zero."""
    bias = call['bias']
    is_bias_zero = flow.vanishes(bias) or flow.blank.get(bias, False)
    return flow.vanishes(call['weight']) and is_bias_zero


@rule('torchvision::nms')
def suppress(flow, call):
    """Boxes are compared as a whole."""
    flow.pin_inputs(call, f'{call.place} compares boxes')
    return None


def _pin_positions(flow, call, *names: str) -> None:
    for name in names:
        if flow.has_channels(call[name]):
            flow.pin(flow.labels(call[name]), f'{call.place} samples there')
