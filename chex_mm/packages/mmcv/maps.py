"""Rules for the compiled kernels of mmcv.

The dispatcher cannot see them; they are known by the autograd function that
calls the kernel. Modules around them say how their attributes follow a
cut.
"""

from __future__ import annotations

import torch
from mmcv.ops.carafe import CARAFEFunction, CARAFENaiveFunction
from mmcv.ops.deform_conv import DeformConv2d, DeformConv2dFunction
from mmcv.ops.masked_conv import MaskedConv2dFunction
from mmcv.ops.modulated_deform_conv import (
    ModulatedDeformConv2d,
    ModulatedDeformConv2dFunction,
)
from mmcv.ops.roi_align import RoIAlignFunction
from mmcv.ops.roi_align_rotated import RoIAlignRotatedFunction
from mmcv.ops.roi_pool import RoIPoolFunction
from mmcv.ops.saconv import SAConv2d

from ...surgery import attributes
from ...surgery import convolution as convolution_attributes
from ...trace.labels import spread
from ...trace.rules import rule, standardiser, zeros
from ...trace.rules.products import Operands, convolution
from ...trace.rules.vanishing import kept

attributes(DeformConv2d, ModulatedDeformConv2d)(convolution_attributes)
standardiser(SAConv2d)  # standardises as `standardised.ConvAWS2d` does
CROPS = (
    RoIAlignFunction,
    RoIPoolFunction,
    RoIAlignRotatedFunction,
)
zeros(*CROPS, CARAFEFunction, CARAFENaiveFunction)(kept)


@rule(*CROPS)
def crop(flow, call):
    """Where to crop is data; what is cropped keeps its channels."""
    features, regions = call.inputs[:2]
    if flow.has_channels(regions):
        flow.pin(flow.labels(regions), f'{call.place} crops there')
    return spread(flow.vector(features, 1), call.out.shape, 1)


@rule(DeformConv2dFunction, ModulatedDeformConv2dFunction)
def deformable_convolution(flow, call):
    """A convolution whose sampling offsets and weights stay as they are.

    Several deformable groups share offsets within each: the same slot of
    every group is one channel, so that they stay equal.
    """
    for name in ('offset', 'mask'):
        tensor = call.arguments.get(name)
        if tensor is not None and flow.has_channels(tensor):
            flow.pin(flow.labels(tensor), f'{call.place} samples there')
    slots = flow.vector(call['input'], 1).view(call['deform_groups'], -1)
    flow.tie(slots[:1].expand_as(slots), slots)
    # The older version's `bias` is a flag that is always False.
    bias = call['bias'] if call['bias'] is not False else None
    operands = Operands(call['input'], call['weight'], bias, call['groups'])
    return convolution(flow, call, operands)


@zeros(
    DeformConv2dFunction, ModulatedDeformConv2dFunction, MaskedConv2dFunction
)
def filtered(flow, call) -> bool:
    """By a row of zeros, and a bias of zero."""
    read = call['weight'], call['bias']
    return all(flow.vanishes(t) for t in read if isinstance(t, torch.Tensor))


@rule(CARAFEFunction, CARAFENaiveFunction)
def reassemble(flow, call):
    """Upsamples each channel by kernels that are data.

    Every group of channels has kernels of its own: the same slot of every
    group is one channel, so that the groups stay equal.
    """
    if flow.has_channels(call['masks']):
        flow.pin(flow.labels(call['masks']), f'{call.place} weighs by them')
    vector = flow.vector(call['features'], 1)
    slots = vector.view(call['group_size'], -1)
    flow.tie(slots[:1].expand_as(slots), slots)
    return spread(vector, call.out.shape, 1)


@rule(MaskedConv2dFunction)
def masked_convolution(flow, call):
    """A convolution that is computed where a mask says."""
    names = 'features', 'weight', 'bias'
    return convolution(flow, call, Operands(*(call[n] for n in names)))
