"""Cases for compiled kernels; for those of CUDA only their labels."""

from unittest.mock import patch

import torch
import torch.nn.functional as F
import torchvision
from mmcv.ops.carafe import CARAFEFunction, CARAFENaiveFunction
from mmcv.ops.deform_conv import DeformConv2dFunction
from mmcv.ops.masked_conv import MaskedConv2dFunction
from mmcv.ops.modulated_deform_conv import ModulatedDeformConv2dFunction
from mmcv.ops.roi_align import RoIAlignFunction
from mmcv.ops.roi_align_rotated import RoIAlignRotatedFunction
from mmcv.ops.roi_pool import RoIPoolFunction

from .cases import ALL, SLOTS, Case, Given, Input, Parameter, Plain, Unrun, X
from .summing_cases import BIAS, OUT, W

BOXES = torch.tensor([[0, 0.0, 0, 4, 4], [1, 1, 1, 5, 5]])
TILTED = torch.tensor([[0, 2.0, 2, 4, 4, 0.5]])
DEFORMED = tuple((n, 249 + n) for n in ALL)


def pool(x):
    """mmcv has no CPU kernel for it."""
    with patch('mmcv.ops.roi_pool.ext_module.roi_pool_forward'):
        return RoIPoolFunction.apply(x, BOXES, (2, 2), 1.0)


RUN = [
    Case(
        RoIAlignFunction,
        lambda x: RoIAlignFunction.apply(x, BOXES, (2, 2), 1.0),
    ),
    Case(
        RoIAlignFunction,
        lambda x, y: RoIAlignFunction.apply(x, y, (2, 2), 1.0),
        (X, Given((5, 6, 7, 8, 9), (2, 5), 1, BOXES)),
        pins=(5, 6, 7, 8, 9),
    ),
    Case(
        'torchvision::roi_align',
        lambda x: torchvision.ops.roi_align(x, BOXES, (2, 2)),
    ),
    Case(
        'torchvision::roi_align',
        lambda x, y: torchvision.ops.roi_align(x, y, (2, 2)),
        (X, Given((5, 6, 7, 8, 9), (2, 5), 1, BOXES)),
        pins=(5, 6, 7, 8, 9),
    ),
    Case(
        'torchvision::roi_pool',
        lambda x: torchvision.ops.roi_pool(x, BOXES, (2, 2)),
    ),
    *(
        Case(
            f'torchvision::ps_{name}',
            lambda x, name=name: getattr(torchvision.ops, f'ps_{name}')(
                x, BOXES, (1, 2)
            ),
            out=(1, 3),
            ties=((1, 2), (3, 4)),
        )
        for name in ('roi_align', 'roi_pool')
    ),
    Case(
        'torchvision::deform_conv2d',
        lambda x, w, b: torchvision.ops.deform_conv2d(
            x, torch.zeros(2, 2, 6, 6), w, b
        ),
        (X, W, Parameter((5,))),
        OUT,
        ties=DEFORMED + BIAS,
    ),
    Case(
        'torchvision::deform_conv2d',
        lambda x, y, w: torchvision.ops.deform_conv2d(x, y, w),
        (X, Given((5, 6), (2, 2, 6, 6)), Parameter((5, 4, 1, 1))),
        (300, 301, 302, 303, 304),
        ties=tuple((n, 349 + n) for n in ALL),
        pins=(5, 6),
    ),
    Case(
        'torchvision::nms',
        lambda y: torchvision.ops.nms(y, torch.rand(2), 0.5),
        (Given((5, 6, 7, 8), (2, 4), 1, BOXES[:, 1:]),),
        out=None,
        pins=(5, 6, 7, 8),
    ),
    Case(RoIPoolFunction, pool),
    Case(
        RoIAlignRotatedFunction,
        lambda x: RoIAlignRotatedFunction.apply(x, TILTED, (2, 2), 1.0),
    ),
    Case(
        DeformConv2dFunction,
        lambda x, w: DeformConv2dFunction.apply(x, torch.zeros(2, 2, 6, 6), w),
        (X, W),
        OUT,
        ties=DEFORMED,
    ),
    Case(
        ModulatedDeformConv2dFunction,
        lambda x, w, b: ModulatedDeformConv2dFunction.apply(
            x,
            torch.zeros(2, 2, 6, 6),
            torch.ones(2, 1, 6, 6),
            w,
            b,
            1,
            0,
            1,
            1,
            1,
        ),
        (X, W, Parameter((5,))),
        OUT,
        ties=DEFORMED + BIAS,
    ),
    Case(
        DeformConv2dFunction,
        lambda x, w: DeformConv2dFunction.apply(
            x, torch.zeros(2, 4, 6, 6), w, 1, 0, 1, 1, 2
        ),
        (X, W),
        OUT,
        ties=((1, 3, 250, 252), (2, 4, 251, 253)),
    ),
    Case(
        DeformConv2dFunction,
        lambda x, y, w: DeformConv2dFunction.apply(x, y, w),
        (X, Given((5, 6), (2, 2, 6, 6)), Parameter((5, 4, 1, 1))),
        (300, 301, 302, 303, 304),
        ties=tuple((n, 349 + n) for n in ALL),
        pins=(5, 6),
    ),
]


UP = (2, 4, 12, 12)


MASKS = Plain(1.0)


def reassembled(key, groups, masks=MASKS, **facts):
    call = Unrun(key, (Input(0), Input(1), 5, groups, 2), (UP,))
    return Case(key, call, (X, masks), **facts)


DIRECTIONS = [
    # What others have read before is zero where it is masked: 0 / 0.
    Case(
        torch.ops.aten._weight_norm_interface,
        lambda x, v, g: F.conv2d(x, torch._weight_norm(v, g, 0)),
        (X, Parameter((5, 4, 1, 1)), Parameter((5, 1, 1, 1))),
        None,
        ties=(
            *((n, 249 + n) for n in ALL),
            *((200 + n, 300 + n) for n in range(5)),
        ),
        pins=range(200, 205),
    ),
    # Along places in a kernel no norm is one of a channel.
    Case(
        torch.ops.aten._weight_norm_interface,
        lambda x, v, g: F.conv2d(x, torch._weight_norm(v, g, 3)),
        (X, Parameter((5, 4, 1, 1)), Parameter((1, 1, 1, 1))),
        range(200, 205),
        ties=tuple((n, 249 + n) for n in ALL),
    ),
]

KERNEL_CASES = [
    *RUN,
    *DIRECTIONS,
    *(
        reassembled(key, groups, ties=ties)
        for key in (CARAFEFunction, CARAFENaiveFunction)
        for groups, ties in ((1, ()), (2, SLOTS))
    ),
    reassembled(
        CARAFEFunction,
        1,
        Given((5,) * 25, (2, 25, 12, 12)),
        pins=(5,),
    ),
    Case(
        MaskedConv2dFunction,
        Unrun(
            MaskedConv2dFunction,
            (Input(0), None, Input(1), Input(2), 1),
            ((2, 5, 6, 6),),
        ),
        (X, Parameter((5, 4, 3, 3)), Parameter((5,))),
        (200, 201, 202, 203, 204),
        ties=(
            *((n, 249 + n) for n in ALL),
            *((200 + n, 300 + n) for n in range(5)),
        ),
    ),
]
