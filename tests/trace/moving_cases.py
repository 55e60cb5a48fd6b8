"""Cases for operators that move elements or work on each by itself."""

from functools import partial

import torch

from .cases import (
    ALL,
    ONES,
    PAIRS,
    ROWS,
    SLOTS,
    Case,
    Given,
    Parameter,
    Plain,
    X,
    Y,
    across,
    same,
)

aten = torch.ops.aten

ONE = Given((9,), (2, 1, 6, 6))  # a single channel
SCALAR = Given((9,), (1,), 0)

POINTWISE = [
    Case('pointwise', torch.relu),
    Case('pointwise', lambda x: x.sigmoid_()),
    Case('pointwise', torch.add, (X, Y), ties=PAIRS),
    Case('pointwise', lambda x, y: x.mul_(y), (X, Y), ties=PAIRS),
    Case('pointwise', lambda x: x + ONES, out=None, pins=ALL),
    Case('pointwise', lambda x: x * ONES[:, :1]),
    Case('pointwise', torch.mul, (X, ONE), pins=(9,)),
    Case('pointwise', torch.mul, (ONE, X), pins=(9,)),
    Case('pointwise', lambda n, x: n.expand_as(x) * x, (ONE, X), pins=(9,)),
    Case('pointwise', lambda x, n: x.mul_(n), (X, ONE), pins=(9,)),
    Case(
        'pointwise',
        torch.addcmul,
        (ONE, X, Y),
        ties=PAIRS,
        pins=(9,),
    ),
    Case(
        'pointwise',
        lambda n, x: torch.where(ONES[:, :1] > 0, n, x),
        (ONE, X),
        pins=(9,),
    ),
    Case('pointwise', lambda n, x: n * x, (SCALAR, X), pins=(9,)),
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
    aten.binary_cross_entropy_with_logits,
):
    extra = {
        aten.binary_cross_entropy: [None],
        aten.binary_cross_entropy_with_logits: [None, None],
    }.get(op, [])

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
    Case(
        aten.stack,
        lambda x, y: torch.stack((x, y), 2).flatten(1, 2),
        (X, Y),
        (1, 1, 2, 2, 3, 3, 4, 4),
        ties=PAIRS,
    ),
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
    Case(aten.slice, lambda x: x[:, 1::2], out=(2, 4), ties=((1, 2), (3, 4))),
    Case(aten.slice, lambda x: x[:, ::3], out=None, pins=ALL),
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
    Case(aten.copy_, lambda x: x.copy_(torch.ones(1))),
    Case(aten.copy_, lambda x: x.copy_(ONES), out=None, pins=ALL),
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

# Of three positions, two for each channel.
WHERE = torch.tensor([0, 2])[:, None].expand(2, 4)
TWO = Given(shape=(2, 4))
OTHERS = Given((5, 6, 7, 8), (3, 4))


def put_along(key, rest, x, target=None):
    """Writes (positions, channels) along positions."""
    target = x.new_zeros(3, 4) if target is None else target
    return key(target, 0, WHERE, x, *rest)


for key, *rest in (
    (aten.scatter,),
    (aten.scatter_,),
    (aten.scatter_add,),
    (aten.scatter_add_,),
    (aten.scatter_reduce, 'amax'),
    (aten.scatter_reduce_, 'sum'),
):
    run = partial(put_along, key, rest)
    MOVEMENT += [
        Case(key, run, (TWO,)),
        Case(key, run, (TWO, OTHERS), ties=PAIRS),
    ]
MOVEMENT += [
    Case(
        aten.scatter_,
        lambda x: x.scatter_(0, WHERE, 1.0),
        (Given(shape=(3, 4)),),
    ),
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
        (
            aten.bucketize,
            lambda x: torch.bucketize(x, x[0, :, 0, 0].clone()),
        ),
        (aten.take, lambda x: x.take(torch.arange(3))),
        (aten.histc, torch.histc),
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

MOVING_CASES = [*POINTWISE, *MOVEMENT, *DATA]
