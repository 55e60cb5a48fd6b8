"""Cases for operators that sum, normalise or sample."""

from functools import partial

import torch
import torch.nn.functional as F

from .cases import (
    ALL,
    CUBE,
    LINE,
    ROWS,
    Case,
    Given,
    Input,
    Parameter,
    Unrun,
    X,
    Y,
    across,
    same,
)

aten = torch.ops.aten

V = Parameter((4,))
NORM_TIES = tuple((n, 199 + n, 299 + n, 399 + n, 499 + n) for n in ALL)


def batch_norm(op, before=(), after=(), outs=1):
    """Batch norm by any of torch's operators, run or only described."""
    vectors = [Input(n) for n in (1, 2, 3, 4)]
    arguments = (Input(0), *vectors, *before, *after)
    run = Unrun(op.default, arguments, ((2, 4, 6, 6),) + ((4,),) * outs)
    return Case(op, run, (X, V, V, V, V), [ALL], ties=NORM_TIES)


NORMS = [
    Case(
        aten.native_batch_norm,
        lambda x, *v: torch.native_batch_norm(x, *v, False, 0.1, 1e-5),
        (X, V, V, V, V),
        [ALL],
        ties=NORM_TIES,
    ),
    batch_norm(aten.cudnn_batch_norm, (True, 0.1, 1e-5), outs=3),
    batch_norm(aten.miopen_batch_norm, (True, 0.1, 1e-5), outs=2),
    Case(
        aten.native_group_norm,
        lambda x, w: torch.group_norm(x, 2, w),
        (X, V),
        ties=((1, 2, 200, 201), (3, 4, 202, 203)),
    ),
    Case(aten.native_layer_norm, lambda x: torch.layer_norm(x, (6,))),
    Case(
        aten.native_layer_norm,
        lambda x: torch.layer_norm(x, (4, 6, 6)),
        out=None,
        pins=ALL,
    ),
    same(aten.renorm, 2, 1, 1.0),
    across(aten.renorm, 2, 0, 1.0),
    same(aten.renorm_, 2, 1, 1.0),
]

W = Parameter((5, 4, 1, 1))
KERNEL = torch.rand(1, 1, 3, 3)
OUT = (200, 201, 202, 203, 204)
INTO = ((1, 250), (2, 251), (3, 252), (4, 253))
BIAS = tuple((200 + n, 300 + n) for n in range(5))
CONV = (None, [1, 1], [0, 0], [1, 1])
CONTRACTIONS = [
    Case(
        aten.convolution,
        torch.conv2d,
        (X, W, Parameter((5,))),
        OUT,
        ties=INTO + BIAS,
    ),
    Case(
        aten.convolution,
        torch.conv2d,
        (Given(shape=(4, 6, 6), dim=0), W),
        OUT,
        0,
        INTO,
    ),
    Case(
        aten.convolution,
        lambda x, w: torch.conv2d(x, w, groups=4),
        (X, Parameter((4, 1, 3, 3))),
        (200, 201, 202, 203),
        ties=tuple((n, 199 + n) for n in ALL),
    ),
    Case(
        aten.convolution,
        lambda x, w: torch.conv2d(x, w, groups=4),
        (X, Parameter((8, 1, 3, 3))),
        tuple(range(200, 208)),
        ties=tuple((n, 198 + 2 * n, 199 + 2 * n) for n in ALL),
    ),
    Case(
        aten.convolution,
        lambda x, w: torch.conv2d(x, w, groups=2),
        (X, Parameter((4, 2, 3, 3))),
        (200, 201, 202, 203),
        ties=((1, 3, 250), (2, 4, 251), (200, 202), (201, 203)),
    ),
    Case(
        aten.convolution,
        lambda x: torch.conv2d(x, KERNEL.expand(8, 1, 3, 3), groups=4),
        out=(1, 1, 2, 2, 3, 3, 4, 4),
    ),
    Case(
        aten.convolution,
        lambda x: torch.conv2d(x, torch.rand(4, 1, 3, 3), groups=4),
        out=None,
        pins=ALL,
    ),
    Case(
        aten.convolution,
        lambda x: torch.conv_transpose2d(
            x, KERNEL.expand(4, 2, 3, 3), groups=4
        ),
        out=(1, 1, 2, 2, 3, 3, 4, 4),
    ),
    Case(
        aten.convolution,
        lambda x, w: torch.conv2d(
            x, w[None, None].repeat(4, 1, 1, 1), groups=4
        ),
        (X, Parameter((3, 3))),
        pins=(200, 201, 202, 250, 251, 252),
    ),
    Case(
        aten.convolution,
        lambda x, w: torch.conv2d(x.flatten(0, 1)[:, None], w),
        (X, Parameter((5, 1, 3, 3))),
        (1, 2, 3, 4, 1, 2, 3, 4),
        0,
        pins=(200, 201, 202, 203, 204),
    ),
    Case(
        aten.convolution,
        lambda x, w, b: torch.conv_transpose2d(x, w, b, groups=4),
        (X, Parameter((4, 2, 2, 2)), Parameter((8,))),
        (200, 200, 201, 201, 202, 202, 203, 203),
        ties=tuple(
            (n + 1, 200 + n, 300 + 2 * n, 301 + 2 * n) for n in range(4)
        ),
    ),
    Case(
        aten.convolution,
        torch.conv_transpose2d,
        (X, Parameter((4, 5, 2, 2)), Parameter((5,))),
        (250, 251, 252, 253, 254),
        ties=tuple((n, 199 + n) for n in ALL)
        + tuple((250 + n, 300 + n) for n in range(5)),
    ),
    Case(
        aten.convolution,
        lambda x, w: torch.conv_transpose2d(x, w, groups=2),
        (X, Parameter((4, 3, 2, 2))),
        (250, 251, 252) * 2,
        ties=((1, 3, 200, 202), (2, 4, 201, 203)),
    ),
    Case(
        aten.convolution,
        lambda x, w: torch.conv_transpose2d(x, w, groups=4),
        (X, Parameter((4, 1, 2, 2))),
        (200, 201, 202, 203),
        ties=tuple((n, 199 + n) for n in ALL),
    ),
    Case(
        aten.addmm,
        torch.nn.functional.linear,
        (ROWS, Parameter((5, 4)), Parameter((5,))),
        OUT,
        ties=INTO + BIAS,
    ),
    Case(
        aten.mm,
        torch.nn.functional.linear,
        (ROWS, Parameter((5, 4))),
        OUT,
        ties=INTO,
    ),
    Case(
        aten.mm,
        lambda x, w: x @ w,
        (ROWS, Parameter((4, 5))),
        (250, 251, 252, 253, 254),
        ties=tuple((n, 199 + n) for n in ALL),
    ),
    # Positions carry the channels: (channels, positions) by (positions, 5).
    Case(
        aten.mm,
        lambda x, w: x @ w,
        (Given(shape=(4, 6), dim=0), Parameter((6, 5))),
        dim=0,
        pins=(*range(200, 206), *range(250, 255)),
    ),
    Case(aten.mm, lambda x: torch.rand(3, 6) @ x, (ROWS,), pins=()),
    Case(aten.mm, lambda x: x @ torch.rand(4, 3), (ROWS,), None, pins=ALL),
    Case(
        aten.mv, lambda x: aten.mv(x, torch.rand(4)), (ROWS,), None, pins=ALL
    ),
    Case(
        aten.mv,
        lambda x, v: aten.mv(x, v),
        (Given(shape=(4, 6), dim=0), Parameter((6,))),
        dim=0,
        pins=tuple(range(200, 206)),
    ),
    Case(
        aten.bmm,
        lambda x: torch.rand(2, 5, 4) @ x,
        (Given(shape=(2, 4, 7), dim=2, labels=(1, 2, 3, 4, 5, 6, 7)),),
        (1, 2, 3, 4, 5, 6, 7),
        2,
    ),
    Case(aten.bmm, lambda x: x @ torch.rand(2, 6, 7), (LINE,)),
    Case(
        aten.bmm,
        lambda x, y: x @ y.transpose(1, 2),
        (LINE, Given((5, 6, 7, 8), (2, 4, 6))),
        ALL,
        1,
        pins=(5, 6, 7, 8),
    ),
]
for key, run in (
    (
        aten.baddbmm,
        lambda x: torch.baddbmm(torch.rand(2, 5, 6), torch.rand(2, 5, 4), x),
    ),
    (aten._cdist_forward, lambda x: aten._cdist_forward(x, x, 1.0, None)),
    (aten._euclidean_dist, lambda x: aten._euclidean_dist(x, x)),
):
    CONTRACTIONS.append(Case(key, run, (LINE,), None, pins=ALL))
CONTRACTIONS += [
    Case(
        aten.embedding,
        lambda w: aten.embedding(w, torch.tensor([[1, 0, 1]])),
        (Parameter((2, 4)),),
        (150, 151, 152, 153),
        2,
        pins=(100, 101),
    ),
    Case(
        aten.embedding,
        lambda w, x: aten.embedding(w, (x > 0).long()),
        (Parameter((2, 4)), X),
        (150, 151, 152, 153),
        4,
        pins=(*ALL, 100, 101),
    ),
]
HEADS = Given(shape=(2, 4, 6, 8))
for name, rest, given in (
    ('_scaled_dot_product_flash_attention_for_cpu', (), HEADS),
    ('_scaled_dot_product_flash_attention', (), HEADS),
    ('_scaled_dot_product_efficient_attention', (None, False), HEADS),
    ('_scaled_dot_product_cudnn_attention', (None, False), HEADS),
    ('_native_multi_head_attention', (6, 2) + (None,) * 4, LINE),
):
    op = getattr(aten, name)
    run = Unrun(op.default, (Input(0),) * 3 + rest, (given.shape,) * 2)
    CONTRACTIONS.append(Case(op, run, (given,), None, pins=ALL))

SAMPLES = Given(shape=(3, 6, 4), dim=2)  # (samples, positions, channels)
LAST = (280, 281, 282, 283, 284)
READ = ((1, 250), (2, 251), (3, 252), (4, 253))
CONTRACTIONS += [
    Case(
        aten.bmm,
        torch.bmm,
        (SAMPLES, Parameter((3, 4, 5))),
        LAST,
        2,
        READ,
        (200, 201, 202),
    ),
    Case(
        aten.baddbmm,
        lambda x, w, y: torch.baddbmm(y, x, w),
        (SAMPLES, Parameter((3, 4, 5)), Given((5, 6, 7, 8, 9), (3, 6, 5), 2)),
        LAST,
        2,
        (*((5 + n, 280 + n) for n in range(5)), *READ),
        (200, 201, 202),
    ),
    Case(
        aten.bmm,
        lambda x, w: torch.bmm(w, x),
        (Given(shape=(3, 4, 6)), Parameter((3, 5, 4))),
        (250, 251, 252, 253, 254),
        1,
        tuple((n, 279 + n) for n in ALL),
        (200, 201, 202),
    ),
    Case(
        aten.bmm,
        torch.bmm,
        (Given(shape=(4, 6, 3), dim=0), Parameter((4, 3, 5))),
        dim=0,
        ties=tuple((n, 199 + n) for n in ALL),
        pins=(250, 251, 252, *LAST),
    ),
    Case(
        aten.bmm,
        torch.bmm,
        (
            Given(shape=(4, 6, 3), dim=0),
            Given((5, 6, 7, 8), (4, 3, 6), 0),
        ),
        dim=0,
        ties=((1, 5), (2, 6), (3, 7), (4, 8)),
    ),
    Case(
        aten.bmm,
        lambda x: torch.bmm(torch.ones(3, 3).expand(4, 3, 3), x),
        (Given(shape=(4, 3, 6), dim=0),),
        dim=0,
    ),
    Case(
        aten.convolution,
        torch.conv1d,
        (Given(shape=(2, 3, 4), dim=2), Parameter((5, 3, 1))),
        dim=2,
        pins=(200, 201, 202, 203, 204, 250, 251, 252),
    ),
    Case(
        aten.convolution,
        lambda x, w: torch.conv1d(x, w, padding=1),
        (Given(shape=(2, 3, 4), dim=2), Parameter((5, 3, 3))),
        (200, 201, 202, 203, 204),
        ties=((*ALL, 250, 251, 252),),
    ),
    Case(
        aten.mm,
        lambda x, w: w @ x,
        (Given(shape=(4, 6), dim=0), Parameter((5, 4))),
        (200, 201, 202, 203, 204),
        0,
        READ,
    ),
]

REDUCTIONS = []
for op, *arguments in (
    (aten.mean,),
    (aten.amax,),
    (aten.amin,),
    (aten.var,),
    (aten.var_mean,),
    (aten.std,),
    (aten.std_mean,),
    (aten.linalg_vector_norm, 2),
    (aten.norm, 2),
    (aten.logsumexp,),
):
    REDUCTIONS += [
        same(op, *arguments, [2, 3]),
        same(op, *arguments, [2, 3], keepdim=True)
        if op
        not in (aten.norm, aten.var, aten.var_mean, aten.std, aten.std_mean)
        else same(op, *arguments, [3], True),
        across(op, *arguments, [1]),
    ]
REDUCTIONS += [
    same(aten.sum, [2, 3]),
    Case(aten.sum, lambda x: x.sum((1, 2, 3)), out=None, pins=ALL),
    Case(aten.sum, lambda x: x.sum() * 0, out=None),
    Case(aten.sum, lambda x: x.sum() * 0.5, out=None, pins=ALL),
    same(aten.aminmax, dim=2),
    across(aten.aminmax, dim=1),
    across(aten.max),
    across(aten.min),
    across(aten.median),
]
for op in (
    aten.prod,
    aten.any,
    aten.all,
    aten.argmax,
    aten.argmin,
    aten.nansum,
    aten.nanmedian,
    aten.mode,
    aten.count_nonzero,
):
    dim = 2 if op is not aten.nansum else [2]
    REDUCTIONS += [same(op, dim), across(op, 1 if dim == 2 else [1])]
for op in (aten.max.dim, aten.min.dim, aten.median.dim):
    REDUCTIONS += [same(op, 2), same(op, 2, True), across(op, 1)]
for op, *arguments in (
    (aten._softmax, False),
    (aten._log_softmax, False),
    (aten.cumsum,),
    (aten.cumprod,),
    (aten.logcumsumexp,),
    (aten.cummax,),
    (aten.cummin,),
    (aten.sort,),
):
    REDUCTIONS += [same(op, 2, *arguments), across(op, 1, *arguments)]
REDUCTIONS += [
    same(aten.topk, 3, 2),
    across(aten.topk, 3, 1),
    same(aten.kthvalue, 3, 2),
    across(aten.kthvalue, 3, 1),
]


def unpool(op, size, x, *rest):
    """Back to where each channel had its largest elements."""
    pool = F.max_pool2d if x.ndim == 4 else F.max_pool3d
    found, indices = pool(x, 2, return_indices=True)
    return op(found, indices, size, *rest)


SAMPLING = [
    same(aten.upsample_nearest1d, [9], x=LINE),
    same(aten._upsample_nearest_exact1d, [9], x=LINE),
    same(aten.upsample_linear1d, [9], False, x=LINE),
    same(aten.reflection_pad1d, [1, 1], x=LINE),
    same(aten.replication_pad1d, [1, 1], x=LINE),
    same(aten.max_pool2d_with_indices, [2, 2]),
    same(aten.avg_pool2d, [2, 2]),
    same(aten._adaptive_avg_pool2d, [2, 2]),
    same(aten.adaptive_max_pool2d, [2, 2]),
    same(aten.fractional_max_pool2d, [2, 2], [2, 2], torch.rand(2, 4, 2)),
    same(aten.upsample_nearest2d, [9, 9]),
    same(aten._upsample_nearest_exact2d, [9, 9]),
    same(aten.upsample_bilinear2d, [9, 9], False),
    same(aten._upsample_bilinear2d_aa, [9, 9], False),
    same(aten.upsample_bicubic2d, [9, 9], False),
    same(aten._upsample_bicubic2d_aa, [9, 9], False),
    same(aten.reflection_pad2d, [1, 1, 1, 1]),
    same(aten.replication_pad2d, [1, 1, 1, 1]),
    same(aten.max_pool3d_with_indices, [2, 2, 2], x=CUBE),
    same(aten.avg_pool3d, [2, 2, 2], x=CUBE),
    same(aten._adaptive_avg_pool3d, [2, 2, 2], x=CUBE),
    same(aten.adaptive_max_pool3d, [2, 2, 2], x=CUBE),
    same(
        aten.fractional_max_pool3d,
        *([2, 2, 2], [2, 2, 2], torch.rand(2, 4, 3)),
        x=CUBE,
    ),
    same(aten.upsample_nearest3d, [9, 9, 9], x=CUBE),
    same(aten._upsample_nearest_exact3d, [9, 9, 9], x=CUBE),
    same(aten.upsample_trilinear3d, [9, 9, 9], False, x=CUBE),
    same(aten.reflection_pad3d, [1] * 6, x=CUBE),
    same(aten.replication_pad3d, [1] * 6, x=CUBE),
    same(aten.avg_pool2d, [2, 2], x=Given(shape=(4, 1, 6, 6), dim=0)),
    Case(aten.max_unpool2d, partial(unpool, aten.max_unpool2d, [6, 6])),
    Case(
        aten.max_unpool3d,
        lambda x: unpool(aten.max_unpool3d, [6] * 3, x, [2] * 3, [0] * 3),
        (CUBE,),
    ),
    same(aten.grid_sampler_2d, torch.rand(2, 3, 3, 2), 0, 0, False),
    same(aten.grid_sampler_3d, torch.rand(2, 3, 3, 3, 3), 0, 0, False, x=CUBE),
    Case(
        aten.grid_sampler_2d,
        lambda x, y: aten.grid_sampler_2d(
            x, y.permute(0, 2, 3, 1)[..., :2], 0, 0, False
        ),
        (X, Y),
        pins=(5, 6),
    ),
    Case(
        aten.pixel_shuffle,
        lambda x: torch.pixel_shuffle(x, 2),
        (Given((1, 2, 3, 4, 5, 6, 7, 8), (2, 8, 6, 6)),),
        None,
        ties=((1, 2, 3, 4), (5, 6, 7, 8)),
    ),
]

RECURRENT = [
    Case(aten.transpose_, lambda x: (x * 1).transpose_(1, 2), dim=2),
    Case(
        aten.mkldnn_rnn_layer,
        lambda x, *weights: aten.mkldnn_rnn_layer(
            x,
            *weights,
            torch.zeros(2, 1),
            torch.zeros(2, 1),
            False,
            [],
            2,
            1,
            1,
            True,
            False,
            False,
            False,
        )[0],
        (
            Given(shape=(5, 2, 4), dim=2),
            *map(Parameter, ((4, 4), (4, 1), (4,), (4,))),
        ),
        None,
        ties=tuple((n, 249 + n) for n in ALL),
        pins=tuple(
            first + n for first in (200, 300, 400, 500) for n in range(4)
        ),
    ),
]

SUMMING_CASES = [
    *RECURRENT,
    *NORMS,
    *CONTRACTIONS,
    *REDUCTIONS,
    *SAMPLING,
]
