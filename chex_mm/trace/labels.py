"""Arithmetic on label tensors.

Labels are integers of the shape of the tensor they describe, with stride 0
along dimensions on which they do not change; 0 is no channel. Everything here
works on the few elements that differ in memory.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MANY = 4096  # pairs from which on looking for repeated ones pays


def without_repeats(labels: Tensor, but: int | None = None) -> Tensor:
    """The labels with repeated (stride 0) dimensions shortened to 1.

    Args:
        labels: A label tensor.
        but: A dimension to leave at full length.
    """
    if 0 not in labels.stride():
        return labels
    return labels[
        tuple(
            slice(0, 1) if stride == 0 and dim != but else slice(None)
            for dim, stride in enumerate(labels.stride())
        )
    ]


def with_repeats(labels: Tensor) -> Tensor:
    """The same labels with stride 0 wherever they do not change.

    A reshape that copies loses the strides; without them every later
    operator would work on all elements.
    """
    for dim, stride in enumerate(labels.stride()):
        if stride and labels.shape[dim] > 1 and is_constant(labels, (dim,)):
            shape = labels.shape
            labels = labels.narrow(dim, 0, 1).expand(shape)
    return labels


def spread(vector: Tensor, shape, dim: int) -> Tensor:
    """A label vector along `dim`, constant elsewhere (stride 0)."""
    view = [1] * len(shape)
    view[dim] = -1
    return vector.view(view).expand(shape)


def is_constant(labels: Tensor, dims) -> bool:
    """Whether labels do not change along any of `dims`."""
    dims = [d for d in dims if labels.stride(d) and labels.shape[d] > 1]
    if not dims:
        return True
    labels = without_repeats(labels)
    return all(
        bool((labels == labels.narrow(dim, 0, 1)).all()) for dim in dims
    )


def varying(labels: Tensor) -> list[int]:
    """Dimensions along which labels change."""
    return [d for d in range(labels.ndim) if not is_constant(labels, (d,))]


def aligned(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both of the same number of dimensions, repeats shortened in common."""
    ndim = max(a.ndim, b.ndim)
    a = a[(None,) * (ndim - a.ndim)]
    b = b[(None,) * (ndim - b.ndim)]
    drop = tuple(
        slice(0, 1)
        if (x == 0 or m == 1) and (y == 0 or n == 1)
        else slice(None)
        for x, y, m, n in zip(a.stride(), b.stride(), a.shape, b.shape)
    )
    return a[drop], b[drop]


def meets(a: Tensor, b: Tensor) -> Tensor:
    """(pairs, 2) different channels that meet under broadcasting."""
    if a.numel() == 0 or b.numel() == 0:
        return torch.zeros((0, 2), dtype=torch.long)
    return encounter(a, b)[0]


def encounter(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """What `meets` and `unlabelled_at_full_size` say of equal shapes.

    Returns:
        Pairs of different channels, and labels that meet no channel.
    """
    # Labels are many and short: numpy takes a quarter of torch's time.
    both = torch.broadcast_tensors(*aligned(a, b))
    one, other = (labels.numpy() for labels in both)
    differ = one != other
    one, other = one[differ], other[differ]
    is_free = (one != 0) & (other != 0)
    fixed = np.maximum(one, other)[~is_free]
    pairs = np.stack((one[is_free], other[is_free]), axis=1)
    if len(pairs) > MANY:
        # As one number a pair sorts a hundred times faster than as a row.
        packed = np.unique((pairs[:, 0] << 32) + pairs[:, 1])
        pairs = np.stack((packed >> 32, packed & ((1 << 32) - 1)), axis=1)
    return torch.from_numpy(pairs), torch.from_numpy(fixed)


def is_spread_over(one: Tensor, other: Tensor) -> bool:
    """Whether a single channel is broadcast over a dimension of channels.

    `features * attention[:, :1]`: cutting that one channel would change all
    the others.
    """
    if one.shape == other.shape or varying(one):
        return False  # where it varies, its channels are along another one
    one = one[(None,) * max(0, other.ndim - one.ndim)]
    behind = one.ndim - other.ndim
    return bool(without_repeats(one).any()) and any(
        one.shape[behind + dim] == 1 for dim in varying(other)
    )


def representatives(a: Tensor, b: Tensor) -> list[Tensor]:
    """Single channels that are broadcast over a dimension of channels."""
    both = (a, b), (b, a)
    return [one for one, other in both if is_spread_over(one, other)]


def unlabelled_at_full_size(fixed: Tensor, other: Tensor) -> Tensor:
    """Labels of `other` that meet no channel of `fixed` at the same size.

    Coordinates concatenated to features, the model's input or an opaque
    operator's output have a size that no cut can change. Along a dimension
    on which `fixed` has length 1 nothing is fixed.
    """
    none = torch.zeros(0, dtype=torch.long)
    if other.numel() == 0 or fixed.numel() == 0:
        return none
    if bool((without_repeats(fixed) != 0).all()):
        return none
    fixed = fixed[(None,) * max(0, other.ndim - fixed.ndim)]
    other = other[(None,) * max(0, fixed.ndim - other.ndim)]
    if any(fixed.shape[dim] == 1 for dim in varying(other)):
        return none
    a, b = torch.broadcast_tensors(*aligned(fixed, other))
    return b[(a == 0) & (b != 0)]
