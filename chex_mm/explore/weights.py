"""The weights of a channel group, one vector per channel.

Reads the model's tensors by name; never writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..channels.graph import ChannelGraph, ChannelGroup, Slice


def find_tensors(
    model: nn.Module, graph: ChannelGraph, groups: Iterable[str]
) -> dict[str, Tensor]:
    """The parameters and buffers that `groups` touch, by name.

    Raises:
        ValueError: One is missing or has another shape than in the graph.
    """
    named = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    found = {}
    for group in groups:
        for piece in graph.groups[group].slices:
            name, shape = piece.tensor, graph.shapes[piece.tensor]
            if name not in named:
                raise ValueError(
                    f'The model has no tensor {name!r}, which channel group '
                    f'{group!r} needs. Pass the model that was traced; of a '
                    'wrapped one (DDP, an averaged copy) its `.module`.'
                )
            if tuple(named[name].shape) != tuple(shape):
                raise ValueError(
                    f'{name!r} has shape {tuple(named[name].shape)}, but '
                    f'{tuple(shape)} in the channel graph; trace this model '
                    'again.'
                )
            found[name] = named[name]
    return found


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
