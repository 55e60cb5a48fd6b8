"""mmcv's sparse convolution: which sites meet, and their products.

A pair is an input and an output site that one weight of the kernel joins. All
that is learnt passes along pairs; pairs follow from coordinates alone.
"""

from __future__ import annotations

import inspect
from itertools import product

import torch
from mmcv.ops import sparse_ops
from torch import Tensor

from .install import cpu_kernel

MAP_ARGUMENTS = inspect.signature(sparse_ops.get_indice_pairs)


@cpu_kernel(sparse_ops.get_indice_pairs)
def kernel_map(*args, **kwargs) -> list[Tensor]:
    """Output sites, pairs (weights, in and out, N), pairs per weight.

    Pairs that a weight lacks are -1. Output sites of a submanifold
    convolution are the input's, others are sorted.
    """
    call = MAP_ARGUMENTS.bind(*args, **kwargs)
    call.apply_defaults()
    given = call.arguments
    sites = given['indices'].long()
    shape = _output_shape(given)
    weights, targets = _targets(given, sites[:, 1:], shape)
    is_inside = (targets >= 0).all(2) & (targets < torch.tensor(shape)).all(2)
    batch = sites[:, 0].expand(len(targets), -1)
    keys = _keys(batch, targets, shape)
    if given['subm']:
        known, order = _keys(sites[:, 0], sites[:, 1:], shape).sort()
        outputs = given['indices']
    else:
        known = keys[is_inside].unique()
        order = torch.arange(len(known))
        outputs = _sites(known, shape)
    rows = torch.searchsorted(known, keys).clamp(max=max(len(known) - 1, 0))
    if len(known):
        is_inside &= known[rows] == keys
        rows = order[rows]
    return [outputs, *_listed(is_inside, rows, weights)]


def _per_axis(value, axes: int) -> list[int]:
    return list(value) if isinstance(value, (list, tuple)) else [value] * axes


def _output_shape(given) -> list[int]:
    shape = list(given['spatial_shape'])
    if given['subm']:
        return shape
    names = ['ksize', 'stride', 'padding', 'dilation']
    size = sparse_ops.get_conv_output_size
    if given['transpose']:
        names.append('out_padding')
        size = sparse_ops.get_deconv_output_size
    return size(shape, *(_per_axis(given[n], len(shape)) for n in names))


def _targets(given, sites: Tensor, shape: list[int]):
    """How many weights there are; sites (weights, N, axes) that they reach.

    Where a stride passes a site over, a coordinate is -1.
    """
    kernel, stride, padding, dilation = (
        torch.tensor(_per_axis(given[name], len(shape)))
        for name in ('ksize', 'stride', 'padding', 'dilation')
    )
    if given['subm']:  # mmcv ignores what the layer says
        stride, padding = torch.ones_like(stride), kernel // 2
    places = torch.tensor(list(product(*map(range, kernel.tolist()))))
    offsets = (places * dilation)[:, None]  # (weights, 1, axes)
    if given['transpose']:
        return len(places), sites * stride - padding + offsets
    reached = sites + padding - offsets
    on_stride = reached % stride == 0
    return len(places), (reached // stride).where(on_stride, -1)


def _keys(batch: Tensor, sites: Tensor, shape: list[int]) -> Tensor:
    """One number per site; equal for equal sites inside of `shape`."""
    key = batch
    for axis, size in enumerate(shape):
        key = key * size + sites[..., axis]
    return key


def _sites(keys: Tensor, shape: list[int]) -> Tensor:
    """(N, 1 + axes), the batch first."""
    columns = []
    for size in reversed(shape):
        columns.insert(0, keys % size)
        keys = keys // size
    return torch.stack([keys, *columns], 1).int()


def _listed(is_pair: Tensor, rows: Tensor, weights: int):
    """The pairs of each weight in the order of their inputs."""
    counts = is_pair.sum(1)
    table = torch.full((weights, 2, is_pair.shape[1]), -1, dtype=torch.int32)
    for weight, count in enumerate(counts.tolist()):
        inputs = is_pair[weight].nonzero()[:, 0]
        table[weight, 0, :count] = inputs.int()
        table[weight, 1, :count] = rows[weight, inputs].int()
    return table, counts.int()


def each_pair(pairs: Tensor, counts: Tensor, inverse=False):
    """(weight, rows that are read, rows that are written)."""
    for weight, count in enumerate(counts.tolist()):
        if count:
            ends = pairs[weight, :, :count].long()
            yield weight, ends[int(inverse)], ends[1 - int(inverse)]


def products(out: Tensor, features: Tensor, weights: Tensor, each) -> Tensor:
    """`out` (output sites, out-channels) with what every pair adds.

    Args:
        weights: (weights of the kernel, in-channels, out-channels).
        each: (weight, rows that are read, rows that are written); no weight
            writes a row twice.
    """
    for weight, read, write in each:
        out.index_add_(0, write, features[read] @ weights[weight])
    return out


def gradients(out_bp: Tensor, features: Tensor, weights: Tensor, each):
    """Of the features and of the weights; see `products`."""
    to_features, to_weights = map(torch.zeros_like, (features, weights))
    for weight, read, write in each:
        given = out_bp[write]
        to_features.index_add_(0, read, given @ weights[weight].t())
        to_weights[weight] = features[read].t() @ given
    return to_features, to_weights


@cpu_kernel(sparse_ops.indice_conv)
def convolve(  # noqa: PLR0913 (mmcv's arguments)
    features,
    filters,
    indice_pairs,
    indice_pair_num,
    num_activate_out,
    inverse=False,
    subm=False,
):
    """(output sites, out-channels); filters are (*kernel, in, out)."""
    weights = filters.flatten(0, -3)
    out = features.new_zeros(num_activate_out, filters.shape[-1])
    each = each_pair(indice_pairs, indice_pair_num, inverse)
    return products(out, features, weights, each)


@cpu_kernel(sparse_ops.indice_conv_backward)
def convolve_backward(  # noqa: PLR0913 (mmcv's arguments)
    features,
    filters,
    out_bp,
    indice_pairs,
    indice_pair_num,
    inverse=False,
    subm=False,
):
    """Gradients of the features and of the filters."""
    weights = filters.flatten(0, -3)
    each = each_pair(indice_pairs, indice_pair_num, inverse)
    to_features, to_weights = gradients(out_bp, features, weights, each)
    return to_features, to_weights.view_as(filters)


@cpu_kernel(sparse_ops.indice_maxpool)
def pool(features, indice_pairs, indice_pair_num, num_activate_out):
    """The largest of what meets at each output site, or zero."""
    out = features.new_zeros(num_activate_out, features.shape[1])
    for _, read, write in each_pair(indice_pairs, indice_pair_num):
        # No weight reaches a site twice.
        out[write] = torch.maximum(out[write], features[read])
    return out


@cpu_kernel(sparse_ops.indice_maxpool_backward)
def pool_backward(
    features, out_features, out_bp, indice_pairs, indice_pair_num
):
    """To every input that equals the output, as mmcv does."""
    to_features = torch.zeros_like(features)
    for _, read, write in each_pair(indice_pairs, indice_pair_num):
        is_largest = features[read] == out_features[write]
        to_features.index_add_(0, read, out_bp[write] * is_largest)
    return to_features
