"""Rules for the package spconv, by name: it is imported by who uses it."""

from __future__ import annotations

from torch import nn

from ..surgery import attributes
from ..trace.rules import rule
from .sparse import (
    list_all_pairs,
    list_half_of_pairs,
    pool,
    sparse_convolution,
    table_pairs,
    widths,
)

DIMS = 0, -1  # of a weight's (out, *kernel, in): those of out and of in
FUNCTIONS = 'spconv.pytorch.functional'

rule(
    f'{FUNCTIONS}.SparseMaxPoolFunction',
    f'{FUNCTIONS}.SparseMaxPoolImplicitGemmFunction',
    f'{FUNCTIONS}.SparseAvgPoolImplicitGemmFunction',
)(pool)


@rule(
    f'{FUNCTIONS}.SparseConvFunction',
    f'{FUNCTIONS}.SparseInverseConvFunction',
)
def convolution(flow, call):
    """Pairs by a kernel map that lists every one."""
    return sparse_convolution(flow, call, DIMS, list_all_pairs(call))


@rule(f'{FUNCTIONS}.SubMConvFunction')
def submanifold(flow, call):
    """Pairs by a kernel map that lists half of them."""
    return sparse_convolution(flow, call, DIMS, list_half_of_pairs(call))


@rule(f'{FUNCTIONS}.SparseImplicitGemmFunction')
def by_table(flow, call):
    """Pairs by a table of sites."""
    return sparse_convolution(flow, call, DIMS, table_pairs(call))


@attributes('spconv.pytorch.conv.SparseConvolution')
def convolution_widths(module: nn.Module) -> dict[str, int]:
    """Sizes of a sparse convolution."""
    return widths(module.weight, DIMS)
