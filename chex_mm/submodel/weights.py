"""The weights of a channel group, one vector per channel.

Reads the model's tensors by name; never writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..graph.graph import ChannelGraph
from ..graph.groups import ChannelGroup, Slice
from ..surgery.resize import all_tensors


def touched_shapes(
    graph: ChannelGraph, groups: Iterable[str]
) -> dict[str, tuple[int, ...]]:
    """Dense shapes of the tensors that hold channels of `groups`."""
    return {
        piece.tensor: tuple(graph.shapes[piece.tensor])
        for group in groups
        for piece in graph.groups[group].slices
    }


def find_tensors(
    model: nn.Module, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """The parameters and buffers that `shapes` names.

    Raises:
        ValueError: One is missing or has another shape.
    """
    named = all_tensors(model)
    for name, shape in shapes.items():
        if name not in named:
            raise ValueError(
                f'The model has no tensor {name!r}, which explored channels '
                'need. Pass the model that was traced; of a wrapped one '
                '(DDP, an averaged copy) its `.module`, of a compiled one '
                'its `._orig_mod`.'
            )
        found = tuple(named[name].shape)
        if found != shape:
            raise ValueError(
                f'{name!r} has shape {found} instead of {shape}; pass the '
                'model that was traced, or trace this model again.'
            )
    return {name: named[name] for name in shapes}


def channel_weights(tensor: Tensor, piece: Slice) -> Tensor:
    """What `tensor` holds for each channel: (channels, members, rest)."""
    index = piece.index.to(tensor.device)
    vectors = tensor.detach().movedim(piece.dim, 0)[index.flatten()]
    return vectors.reshape(*index.shape, -1)


def channel_norms(
    tensors: Mapping[str, Tensor], group: ChannelGroup
) -> Tensor:
    """Euclidean norm of each channel over all producers (float64, CPU)."""
    squares = torch.zeros(group.size, dtype=torch.float64)
    for piece in group.producers:
        weights = channel_weights(tensors[piece.tensor], piece)
        squares += weights.double().square().sum((1, 2)).cpu()
    return squares.sqrt()
