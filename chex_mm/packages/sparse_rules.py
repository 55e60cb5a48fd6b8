"""Rules for sparse convolutions, of mmcv and of the package `spconv`.

Which sites are active follows from coordinates alone, so the features of a
sparse tensor are a plain (sites, channels) matrix. Multiply-adds are counted
at the pairs of an input and an output site that the traced cloud has.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from torch import Tensor, nn

from ..graph.groups import Role
from ..surgery import attributes
from ..trace.labels import spread
from ..trace.rules import rule

# Of a weight, the dimensions along which the out- and in-channels lie.
OURS = 0, -1  # spconv 2: (out, *kernel, in)
THEIRS = -1, -2  # mmcv, as spconv 1: (*kernel, in, out)


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


if find_spec('mmcv') and find_spec('mmcv._ext'):
    from mmcv.ops import sparse_functional as mmcv_functions
    from mmcv.ops.sparse_conv import SparseConvolution as MMCVConvolution

    rule(mmcv_functions.SparseMaxPoolFunction)(pool)

    @rule(
        mmcv_functions.SparseConvFunction,
        mmcv_functions.SparseInverseConvFunction,
        mmcv_functions.SubMConvFunction,
    )
    def mmcv_convolution(flow, call):
        return sparse_convolution(flow, call, THEIRS, list_all_pairs(call))

    @attributes(MMCVConvolution)
    def mmcv_widths(module: nn.Module) -> dict[str, int]:
        """Sizes of mmcv's sparse convolution."""
        return widths(module.weight, THEIRS)


if find_spec('spconv'):
    from spconv.pytorch import functional as spconv_functions
    from spconv.pytorch.conv import SparseConvolution as SpconvConvolution

    rule(
        spconv_functions.SparseMaxPoolFunction,
        spconv_functions.SparseMaxPoolImplicitGemmFunction,
        spconv_functions.SparseAvgPoolImplicitGemmFunction,
    )(pool)

    @rule(
        spconv_functions.SparseConvFunction,
        spconv_functions.SparseInverseConvFunction,
    )
    def spconv_convolution(flow, call):
        return sparse_convolution(flow, call, OURS, list_all_pairs(call))

    @rule(spconv_functions.SubMConvFunction)
    def spconv_submanifold(flow, call):
        return sparse_convolution(flow, call, OURS, list_half_of_pairs(call))

    @rule(spconv_functions.SparseImplicitGemmFunction)
    def spconv_table(flow, call):
        return sparse_convolution(flow, call, OURS, table_pairs(call))

    @attributes(SpconvConvolution)
    def spconv_widths(module: nn.Module) -> dict[str, int]:
        """Sizes of spconv's sparse convolution."""
        return widths(module.weight, OURS)
