"""A checkpoint of a run with CHEXHook, checked against a model.

Weights, masks and channel groups must be those of one and the same model.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from ..errors import ChexError
from ..graph.graph import ChannelGraph
from .checkpoint_file import load
from .models.masked_backbone import MASK


def read_checkpoint(name: str) -> dict:
    """A checkpoint with exploration state, on the CPU.

    Raises:
        ChexError: It cannot be read, or CHEXHook did not write it.
    """
    loaded = load(name)
    if 'chex' not in loaded or 'state_dict' not in loaded:
        raise ChexError(
            f"{name} holds no exploration state ('chex'), so nothing says "
            'which channels are active. Pass a checkpoint of a run with '
            "custom_hooks=[dict(type='CHEXHook', ...)]."
        )
    return loaded


def load_weights(model: nn.Module, weights: dict, name: str) -> None:
    """Loads all weights but masks; names the first one that does not fit."""
    metadata = getattr(weights, '_metadata', None)
    weights = OrderedDict(
        (key, value)
        for key, value in weights.items()
        if not key.rpartition('.')[2].startswith(MASK)
    )
    # Without its version mmdet3d takes spconv's weights for those of spconv 1.
    weights._metadata = metadata
    own = model.state_dict()
    for key in {**weights, **own}:
        saved, here = _shape(weights.get(key)), _shape(own.get(key))
        if saved != here:
            raise ChexError(
                f'{name} is a checkpoint of another model: {key} is {saved} '
                f'in the checkpoint and {here} in the model. Pass the config '
                'that wrote it (checkpoint["meta"]["cfg"]).'
            )
    model.load_state_dict(weights)


def _shape(tensor: Tensor | None) -> str:
    return 'missing' if tensor is None else str(tuple(tensor.shape))


def check_inactive(model: nn.Module, graph: ChannelGraph, keep) -> None:
    """Refuses weights that are not the sub-model of their own masks."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, mask in keep.items():
        for each in graph.groups[name].slices:
            inactive = tensors[each.tensor].index_select(
                each.dim, each.positions(~mask)
            )
            if ((inactive != 0) & (inactive != each.idle)).any():
                raise ChexError(
                    f'The checkpoint contradicts its masks: {each.tensor!r} '
                    f'is not zero at inactive channels of {name!r}. Its '
                    'weights were changed after the last exploration step '
                    'without CHEXHook.'
                )
