"""What the sparse convolutions of mmcv and of spconv have in common.

Which sites are active follows from coordinates alone, so the features of a
sparse tensor are a plain (sites, channels) matrix. Multiply-adds are counted
at the pairs of an input and an output site that the traced cloud has.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from ..graph.groups import Role
from ..trace.labels import spread


def sparse_convolution(flow, call, dims: tuple[int, int], pairs: int):
    """Labels of a sparse convolution; `pairs` of sites multiply a weight."""
    weight = call['filters']
    row, column = (dim % weight.ndim for dim in dims)
    rows = flow.axis(weight, row, Role.ROW)
    columns = flow.axis(weight, column, Role.COLUMN)
    flow.tie(flow.vector(call['features'], 1), columns)
    bias = call.arguments.get('bias')
    if bias is not None:
        flow.tie(flow.axis(bias, 0, Role.BIAS), rows)
    flow.count(call, pairs, rows, columns)
    return spread(rows, call.out.shape, 1)


def pool(flow, call):
    """Every channel on its own; spconv's mean also returns its counts."""
    first, *others = call.outs
    labels = spread(flow.vector(call['features'], 1), first.shape, 1)
    return (labels, *(None for _ in others))


def list_all_pairs(call) -> int:
    """Of a kernel map that lists every pair."""
    return int(call['indice_pair_num'].sum())


def list_half_of_pairs(call) -> int:
    """Of spconv's submanifold map: the other half mirrors the first.

    The middle of the kernel pairs every site with itself, unlisted.
    """
    numbers = call['indice_pair_num']
    half = numbers[: len(numbers) // 2]
    return 2 * int(half.sum()) + int(call['num_activate_out'])


def table_pairs(call) -> int:
    """Of a table with one row per weight and -1 where there is no site."""
    return int((call['pair_fwd'] >= 0).sum())


def widths(weight: Tensor, dims: Iterable[int]) -> dict[str, int]:
    """The attributes that count channels."""
    row, column = dims
    return {
        'out_channels': weight.shape[row],
        'in_channels': weight.shape[column],
    }
