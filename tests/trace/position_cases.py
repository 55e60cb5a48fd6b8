"""Cases for operators that move, take or write by position."""

import torch

from .cases import ALL, PAIRS, Case, Given, X, Y, across, same

aten = torch.ops.aten

MATRIX = Given(shape=(4, 4))

MOVES = [
    same(aten.roll, [1], [2]),
    same(aten.roll, [1, 3], [2, 3]),
    across(aten.roll, [1], [1]),
    across(aten.roll, [1]),
    same(aten.rot90, 1, [2, 3]),
    Case(aten.rot90, lambda x: x.rot90(1, (1, 2)), dim=2),
    Case(aten.rot90, lambda x: x.rot90(-1, (1, 2)), out=(4, 3, 2, 1), dim=2),
    same(aten.unfold, 2, 2, 2),
    same(aten.unfold, -1, 3, 1),
    Case(aten.unfold, lambda x: x.unfold(1, 4, 1), dim=4),
    across(aten.unfold, 1, 2, 2),
    across(aten.unfold, 1, 3, 1),
    same(aten.unfold_backward, [2, 4, 11], 2, 6, 1),
    across(aten.unfold_backward, [2, 9, 6], 1, 6, 1),
    Case(aten.diagonal, lambda x: x.diagonal(0, 2, 3)),
    Case(aten.diagonal, lambda x: x.diagonal(0, 0, 2), dim=0),
    across(aten.diagonal, 0, 1, 2),
    Case(
        aten.diag_embed,
        lambda x: aten.diag_embed(x, 1),
        (Given(shape=(2, 4, 6)),),
    ),
    Case(aten.diag_embed, lambda x: aten.diag_embed(x, 0, 0, 1), dim=3),
    across(aten.diag_embed, x=Given(shape=(2, 4))),
    Case(
        aten.squeeze_,
        lambda x: x.squeeze_(0),
        (Given(shape=(1, 4, 6)),),
        dim=0,
    ),
    Case(aten.squeeze_, lambda x: x.unsqueeze(0).squeeze_(0)),
    Case(aten.unsqueeze_, lambda x: x.clone().unsqueeze_(1), dim=2),
    Case(aten.transpose_, lambda x: x.clone().transpose_(1, 2), dim=2),
    Case(aten.t_, lambda x: x.clone().t_(), (Given(shape=(2, 4)),), dim=0),
    Case(
        aten.as_strided,
        lambda x: x.as_strided((2, 4, 3, 2), (144, 36, 2, 1)),
    ),
    Case(
        aten.as_strided,
        lambda x: x.as_strided((2, 4, 36), (144, 36, 1)),
    ),
    across(aten.as_strided, (2, 4, 36), (144, 35, 1)),
    across(aten.as_strided, (2, 3, 36), (144, 36, 1), 36),
    Case(
        aten.col2im,
        lambda x: aten.col2im(
            x.repeat_interleave(4, 1), [7, 1], [2, 2], [1, 1], [0, 1], [1, 1]
        ),
        (Given(shape=(2, 4, 12)),),
    ),
    Case(
        aten.col2im,
        lambda x: aten.col2im(x, [3, 3], [2, 2], [1, 1], [0, 0], [1, 1]),
        (Given(shape=(2, 4, 4)),),
        (1,),
        ties=(ALL,),
    ),
    Case(aten.bucketize, lambda x: torch.bucketize(x, torch.rand(3))),
    Case(
        aten.gather,
        lambda x, y: x.gather(2, y.argsort(2)),
        (X, Y),
        ties=PAIRS,
    ),
    across(aten.gather, 1, torch.zeros(2, 1, 6, 6, dtype=torch.long)),
]
for op in aten.tril, aten.tril_, aten.triu, aten.triu_:
    MOVES += [same(op), across(op, x=MATRIX)]

PLACES = torch.tensor([0, 2])
WRITES = []
for op, how in (
    (aten.index_add, ()),
    (aten.index_add_, ()),
    (aten.index_copy, ()),
    (aten.index_copy_, ()),
    (aten.index_reduce, ('amax',)),
    (aten.index_reduce_, ('amax',)),
):

    def written(x, y, op=op, how=how):
        return op(x, 2, PLACES, y[:, :, :2], *how)

    def into_new(x, op=op, how=how):
        return op(x.new_zeros(2, 4, 9, 6), 2, PLACES, x[:, :, :2], *how)

    WRITES += [
        Case(op, written, (X, Y), (5, 6, 7, 8), ties=PAIRS),
        Case(op, into_new),
    ]
WRITES += [
    same(aten.index_fill, 2, PLACES, 0),
    same(aten.index_fill_, 2, PLACES, 0),
    same(aten.index_fill, 2, PLACES, torch.tensor(1.0)),
    Case(
        aten.select_scatter,
        lambda x, y: x.select_scatter(y[:, :, 0], 2, 1),
        (X, Y),
        (5, 6, 7, 8),
        ties=PAIRS,
    ),
    Case(
        aten.slice_scatter,
        lambda x, y: x.slice_scatter(y[:, :, :2], 2, 0, 2),
        (X, Y),
        (5, 6, 7, 8),
        ties=PAIRS,
    ),
    same(aten.masked_fill, torch.rand(6, 6) > 0.5, 1.0),
    same(aten.masked_fill_, torch.rand(6, 6) > 0.5, 0.0),
    Case(
        aten.masked_fill,
        lambda x, n: x.masked_fill(torch.rand(6, 6) > 0.5, n.view(())),
        (X, Given((9,), (1,), 0)),
        pins=(9,),
    ),
]

POSITION_CASES = [*MOVES, *WRITES]
