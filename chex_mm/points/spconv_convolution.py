"""The products of spconv's sparse convolution on the CPU.

spconv 2.3.8 has them, but with several threads its `scatter_add_cpu` loses
some of the sums, now and then: one model then has two outputs. Which sites
meet is found by spconv itself.
"""

from __future__ import annotations

import torch
from cumm import tensorview as tv
from spconv.pytorch import ops
from torch import Tensor

from .install import cpu_kernel
from .sparse_convolution import each_pair, gradients, products

NO_ACTIVATION = tv.gemm.Activation.None_


def _each(pairs: Tensor, counts: Tensor, inverse: bool, subm: bool):
    """(weight, rows that are read, rows that are written).

    Of a submanifold map the second half mirrors the first, and the middle
    pairs every site with itself, unlisted.

    Args:
        pairs: (in and out, weights, N).
        counts: Pairs of each weight; of a submanifold map, of the first half.
    """
    if subm:
        middle, every = len(counts) // 2, torch.arange(pairs.shape[2])
        yield middle, every, every
        half = counts[:middle]
        counts = torch.cat([half, half.new_zeros(1), half.flip(0)])
    yield from each_pair(pairs.transpose(0, 1), counts, inverse)


def _by_weight(filters: Tensor) -> Tensor:
    """(weights of the kernel, in, out) of (out, *kernel, in)."""
    return filters.flatten(1, -2).permute(1, 2, 0)


@cpu_kernel(ops.indice_conv)
def convolve(  # noqa: PLR0913 (spconv's arguments)
    features,
    filters,
    indice_pairs,
    indice_pair_num,
    num_activate_out,
    inverse=False,
    subm=False,
    bias=None,
    act_type=NO_ACTIVATION,
    **of_cuda,
):
    """(output sites, out-channels)."""
    if act_type != NO_ACTIVATION:
        raise ValueError(
            f"spconv's fused {act_type} is for CUDA only; on the CPU put the "
            'activation behind the convolution as a module of its own.'
        )
    out = features.new_zeros(num_activate_out, len(filters))
    if bias is not None:
        out += bias
    each = _each(indice_pairs, indice_pair_num, inverse, subm)
    return products(out, features, _by_weight(filters), each)


@cpu_kernel(ops.indice_conv_backward)
def convolve_backward(  # noqa: PLR0913 (spconv's arguments)
    features,
    filters,
    out_bp,
    indice_pairs,
    indice_pair_num,
    inverse=False,
    subm=False,
    **of_cuda,
):
    """Gradients of the features and of the filters."""
    each = _each(indice_pairs, indice_pair_num, inverse, subm)
    weights = _by_weight(filters)
    to_features, to_weights = gradients(out_bp, features, weights, each)
    return to_features, to_weights.permute(2, 0, 1).reshape(filters.shape)
