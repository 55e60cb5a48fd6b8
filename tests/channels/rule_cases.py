"""One case or more for every operator that has a rule."""

from functools import partial
from unittest.mock import patch

import torch
from mmcv.ops.deform_conv import DeformConv2dFunction
from mmcv.ops.modulated_deform_conv import ModulatedDeformConv2dFunction
from mmcv.ops.roi_align import RoIAlignFunction
from mmcv.ops.roi_align_rotated import RoIAlignRotatedFunction
from mmcv.ops.roi_pool import RoIPoolFunction

from .cases import Case, Given, Input, Parameter, Plain, Unrun

aten = torch.ops.aten
ALL = (1, 2, 3, 4)
X = Given()
Y = Given((5, 6, 7, 8))
LINE = Given(shape=(2, 4, 6))
CUBE = Given(shape=(2, 4, 6, 6, 6))
ROWS = Given(shape=(6, 4))  # (positions, channels)
PAIRS = ((1, 5), (2, 6), (3, 7), (4, 8))
SLOTS = ((1, 3), (2, 4))
ONES = torch.ones(2, 4, 6, 6)


def same(key, *arguments, x=X, **settings):
    """The operator passes labels on as they are."""
    return Case(key, lambda x: key(x, *arguments, **settings), (x,))


def across(key, *arguments, x=X, **settings):
    """The operator mixes channels, which pins them."""
    run = partial(lambda op, x: op(x, *arguments, **settings), key)
    return Case(key, run, (x,), out=None, pins=ALL)


POINTWISE = [
    Case('pointwise', torch.relu),
    Case('pointwise', lambda x: x.sigmoid_()),
    Case('pointwise', torch.add, (X, Y), ties=PAIRS),
    Case('pointwise', lambda x, y: x.mul_(y), (X, Y), ties=PAIRS),
    Case('pointwise', lambda x: x + ONES, out=None, pins=ALL),
    Case('pointwise', lambda x: x * ONES[:, :1]),
    Case('pointwise', torch.mul, (X, Given((5,), (2, 1, 6, 6))), pins=(5,)),
    Case(
        'pointwise',
        torch.where,
        (Plain(ONES > 0), X, Y),
        None,
        ties=PAIRS,
        pins=ALL,
    ),
    same(aten.native_dropout, 0.5, True),
    Case(
        aten.rrelu_with_noise,
        lambda x: aten.rrelu_with_noise(x, torch.empty_like(x)),
    ),
    same(aten.hardswish),
    same(aten.hardswish_),
    same(aten.leaky_relu),
    same(aten.leaky_relu_),
    Case(
        aten._prelu_kernel,
        lambda x, w: aten._prelu_kernel(x, w.view(1, 4, 1, 1)),
        (X, Parameter((4,))),
        ties=tuple((n, 199 + n) for n in ALL),
    ),
    same(aten.log_sigmoid_forward),
    Case(aten.glu, lambda x: aten.glu(x, 1), out=(1, 2), ties=SLOTS),
]
for op in (
    aten.mse_loss,
    aten.smooth_l1_loss,
    aten.huber_loss,
    aten.binary_cross_entropy,
):
    extra = [None] if op is aten.binary_cross_entropy else []

    def loss(a, b, op=op, how=0, extra=extra):
        return op(a.clamp(0, 1), b.clamp(0, 1), *extra, how)

    POINTWISE += [
        Case(op, loss, (X, Y), ties=PAIRS),
        Case(op, partial(loss, how=1), (X, Y), None, pins=(*ALL, 5, 6, 7, 8)),
    ]

MOVEMENT = [
    Case('view', lambda x: x.squeeze(0), (Given(shape=(1, 4, 6, 6)),), dim=0),
    Case('view', lambda x: x.expand(3, 4, 6, 6), (Given(shape=(1, 4, 6, 6)),)),
    same(aten.repeat, (1, 1, 2, 2)),
    Case(aten.repeat, lambda x: x.repeat(1, 2, 1, 1), out=ALL + ALL),
    Case(aten.flip, lambda x: x.flip(1), out=(4, 3, 2, 1)),
    Case(aten.roll, lambda x: x.roll(1, 1), out=(4, 1, 2, 3)),
    Case(
        aten.stack,
        lambda x, y: torch.stack((x, y), 2).flatten(1, 2),
        (X, Y),
        (1, 1, 2, 2, 3, 3, 4, 4),
        ties=PAIRS,
    ),
    Case(aten.unfold, lambda x: x.unfold(2, 2, 2)),
    Case(
        aten.cat, lambda x, y: torch.cat((x, y), 1), (X, Y), (*ALL, 5, 6, 7, 8)
    ),
    Case(
        aten.cat, lambda x: torch.cat((ONES[:, :3], x), 1), out=(0, 0, 0, *ALL)
    ),
    Case(aten.cat, lambda x: torch.cat((torch.empty(0), x), 1)),
    Case(aten.cat, lambda x: torch.cat((x, ONES), 0), out=None, pins=ALL),
    Case(
        aten.cat,
        lambda x, y: torch.cat((x, y), 0),
        (X, Y),
        ties=PAIRS,
    ),
    same(aten.clone),
    same(aten.detach),
    same(aten.alias),
    same(aten.lift_fresh),
    same(aten._to_copy, dtype=torch.float64),
    Case(aten.t, lambda x: x.t(), (ROWS,), dim=0),
    Case(aten.transpose, lambda x: x.transpose(0, 1), dim=0),
    Case(aten.permute, lambda x: x.permute(0, 2, 3, 1), dim=3),
    Case(aten.view, lambda x: x.view(2, 4, 36)),
    Case(
        aten.view,
        lambda x: x.view(2, 2, 2, 6, 6),
        out=(1, 2),
        dim=2,
        ties=SLOTS,
    ),
    Case(aten._unsafe_view, lambda x: aten._unsafe_view(x, (2, 4, 36))),
    Case(
        aten._reshape_alias,
        lambda x: aten._reshape_alias(x, (2, 4, 36), (144, 36, 1)),
    ),
    Case(aten.slice, lambda x: x[:, 1:3], out=(2, 3)),
    Case(aten.slice, lambda x: x[:, :, 1:3]),
    Case(aten.select, lambda x: x[0], dim=0),
    Case(aten.select, lambda x: x.select(1, 2), out=(3, 3), dim=0),
    Case(
        aten.split, lambda x: x.split(2, 1), out=[(1, 2), (3, 4)], ties=SLOTS
    ),
    Case(aten.split, lambda x: x.split(3, 1), out=[(1, 2, 3), (4,)]),
    Case(
        aten.split_with_sizes,
        lambda x: x.split((1, 3), 1),
        out=[(1,), (2, 3, 4)],
    ),
    Case(
        aten.unsafe_split,
        lambda x: aten.unsafe_split(x, 2, 1),
        out=[(1, 2), (3, 4)],
        ties=SLOTS,
    ),
    Case(aten.unbind, lambda x: x.unbind(0), out=[ALL, ALL], dim=0),
    Case(aten.unbind, lambda x: x.unbind(1), out=[None] * 4, pins=ALL),
    same(aten.constant_pad_nd, (1, 1, 0, 2)),
    Case(
        aten.constant_pad_nd,
        lambda x: aten.constant_pad_nd(x, (0, 0, 0, 0, 1, 2)),
        out=(0, *ALL, 0, 0),
    ),
    Case(
        aten.channel_shuffle,
        lambda x: aten.channel_shuffle(x, 2),
        out=(1, 3, 2, 4),
        ties=SLOTS,
    ),
    Case(
        aten.im2col,
        lambda x: torch.nn.functional.unfold(x, 2),
        out=(1,) * 4 + (2,) * 4 + (3,) * 4 + (4,) * 4,
    ),
    Case(
        aten.pixel_unshuffle,
        lambda x: aten.pixel_unshuffle(x, 2),
        out=(1,) * 4 + (2,) * 4 + (3,) * 4 + (4,) * 4,
    ),
    Case(aten.index, lambda x: x[torch.tensor([1, 0, 1])]),
    Case(aten.index, lambda x: x[:, [0, 2]], out=None, pins=ALL),
    Case(aten.index, lambda x: x.permute(0, 2, 3, 1)[ONES[:, 0] > 0]),
    same(aten.index_select, 2, torch.tensor([0, 1])),
    across(aten.index_select, 1, torch.tensor([0, 1])),
    same(aten.gather, 2, torch.zeros(2, 4, 1, 6, dtype=torch.long)),
    across(aten.gather, 1, torch.zeros(2, 1, 6, 6, dtype=torch.long)),
    Case(
        aten.gather,
        lambda x: aten.gather(torch.rand(9), 0, (x[0, :, 0, 0] * 0).long()),
        out=None,
        pins=ALL,
    ),
    Case(
        aten.as_strided_,
        lambda x: x.as_strided_((2, 4, 1, 1), (4, 1, 4, 4)),
        (Given(shape=(2, 4, 1, 1)),),
    ),
    Case(aten.copy_, lambda x: torch.zeros(2, 4, 6, 6).copy_(x)),
    Case(
        aten.copy_, lambda x, y: x.copy_(y), (X, Y), (5, 6, 7, 8), ties=PAIRS
    ),
    Case(aten.copy_, lambda x: x.copy_(torch.ones(1)), out=None),
]
for key, *arguments in (
    (aten.zeros_like,),
    (aten.ones_like,),
    (aten.empty_like,),
    (aten.full_like, 3),
    (aten.rand_like,),
    (aten.randn_like,),
    (aten.zero_,),
    (aten.fill_, 2),
    (aten.bernoulli_,),
    (aten.uniform_,),
    (aten.normal_,),
    (aten.exponential_,),
):
    MOVEMENT.append(same(key, *arguments))
for key, *arguments in (
    (aten.new_zeros, (2, 4)),
    (aten.new_ones, (2, 4)),
    (aten.new_empty, (2, 4)),
    (aten.new_full, (2, 4), 7),
    (aten.new_empty_strided, (2, 4), (4, 1)),
):
    run = partial(lambda op, rest, x: op(x, *rest), key, arguments)
    MOVEMENT.append(Case(key, run, out=None))


def put(key, x, target=None):
    """Writes rows of (positions, channels) at picked positions."""
    target = x.new_zeros(9, 4) if target is None else target
    where = torch.tensor([0, 2, 4, 5, 6, 8])
    return key(target, (where,), x)


OTHER_ROWS = Given((5, 6, 7, 8), (9, 4))
for key in (aten.index_put_, aten._index_put_impl_):
    MOVEMENT += [
        Case(key, partial(put, key), (ROWS,)),
        Case(key, partial(put, key), (ROWS, OTHER_ROWS), ties=PAIRS),
    ]

DATA = [
    Case(key, run, out=None, pins=ALL)
    for key, run in (
        (aten._local_scalar_dense, lambda x: x[0, :, 0, 0].prod().view(())),
        (aten.equal, lambda x: aten.equal(x, ONES)),
        (aten.nonzero, torch.nonzero),
        (aten.masked_select, lambda x: x.masked_select(ONES > 0)),
        (aten.is_same_size, lambda x: aten.is_same_size(x, ONES)),
        (aten._unique2, lambda x: aten._unique2(x)),
        (aten.unique_dim, lambda x: aten.unique_dim(x, 1)),
        (aten.bincount, lambda x: x[0, :, 0, 0].long().bincount()),
        (aten.isin, lambda x: torch.isin(x, torch.ones(2))),
        (aten.searchsorted, lambda x: torch.searchsorted(torch.rand(3), x)),
        (aten.bucketize, lambda x: torch.bucketize(x, torch.rand(3))),
    )
]
DATA[0] = Case(
    aten._local_scalar_dense,
    lambda x: x.item(),
    (Given((1,), (1,), 0),),
    None,
    pins=(1,),
)
DATA.append(
    Case(
        aten._assert_async,
        lambda x: aten._assert_async(x),
        (Given((1,), (1,), 0),),
        None,
        pins=(1,),
    )
)

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
]

W = Parameter((5, 4, 1, 1))
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
        lambda x: torch.baddbmm(
            torch.rand(2, 5, 5),
            torch.rand(2, 5, 4),
            x.transpose(1, 2).transpose(1, 2)[..., :5],
        ),
    ),
    (aten._cdist_forward, lambda x: aten._cdist_forward(x, x, 1.0, None)),
    (aten._euclidean_dist, lambda x: aten._euclidean_dist(x, x)),
):
    CONTRACTIONS.append(across(key, x=LINE))
    CONTRACTIONS[-1] = Case(key, run, (LINE,), None, pins=ALL)
HEADS = Given(shape=(2, 4, 6, 8))
for name, rest, outs in (
    ('_scaled_dot_product_flash_attention_for_cpu', (), 2),
    ('_scaled_dot_product_flash_attention', (), 2),
    ('_scaled_dot_product_efficient_attention', (None, False), 2),
    ('_scaled_dot_product_cudnn_attention', (None, False), 2),
    ('_native_multi_head_attention', (8, 2) + (None,) * 4, 2),
):
    op = getattr(aten, name)
    run = Unrun(op.default, (Input(0),) * 3 + rest, ((2, 4, 6, 8),) * outs)
    CONTRACTIONS.append(Case(op, run, (HEADS,), None, pins=ALL))

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
for op in (aten.prod, aten.any, aten.all, aten.argmax, aten.argmin):
    REDUCTIONS += [same(op, 2), across(op, 1)]
for op in (aten.max.dim, aten.min.dim, aten.median.dim):
    REDUCTIONS += [same(op, 2), same(op, 2, True), across(op, 1)]
for op, *arguments in (
    (aten._softmax, False),
    (aten._log_softmax, False),
    (aten.cumsum,),
    (aten.cumprod,),
    (aten.logcumsumexp,),
    (aten.sort,),
):
    REDUCTIONS += [same(op, 2, *arguments), across(op, 1, *arguments)]
REDUCTIONS += [
    same(aten.topk, 3, 2),
    across(aten.topk, 3, 1),
    same(aten.kthvalue, 3, 2),
    across(aten.kthvalue, 3, 1),
]

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
    same(aten.reflection_pad2d, [1, 1, 1, 1]),
    same(aten.replication_pad2d, [1, 1, 1, 1]),
    same(aten.max_pool3d_with_indices, [2, 2, 2], x=CUBE),
    same(aten.avg_pool3d, [2, 2, 2], x=CUBE),
    same(aten._adaptive_avg_pool3d, [2, 2, 2], x=CUBE),
    same(aten.adaptive_max_pool3d, [2, 2, 2], x=CUBE),
    same(aten.upsample_nearest3d, [9, 9, 9], x=CUBE),
    same(aten._upsample_nearest_exact3d, [9, 9, 9], x=CUBE),
    same(aten.upsample_trilinear3d, [9, 9, 9], False, x=CUBE),
    same(aten.reflection_pad3d, [1] * 6, x=CUBE),
    same(aten.replication_pad3d, [1] * 6, x=CUBE),
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

BOXES = torch.tensor([[0, 0.0, 0, 4, 4], [1, 1, 1, 5, 5]])
TILTED = torch.tensor([[0, 2.0, 2, 4, 4, 0.5]])
DEFORMED = tuple((n, 249 + n) for n in ALL)


def pool(x):
    """mmcv has no CPU kernel for it."""
    with patch('mmcv.ops.roi_pool.ext_module.roi_pool_forward'):
        return RoIPoolFunction.apply(x, BOXES, (2, 2), 1.0)


KERNELS = [
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

CASES = [
    *POINTWISE,
    *MOVEMENT,
    *DATA,
    *NORMS,
    *CONTRACTIONS,
    *REDUCTIONS,
    *SAMPLING,
    *KERNELS,
]
