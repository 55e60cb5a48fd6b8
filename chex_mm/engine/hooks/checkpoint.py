"""What exploration adds to a checkpoint: plain python and tensors only.

A checkpoint knows its channel graph, so that it can be cut without tracing
again and refuses a model that it was not taken from.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ..models.masked_backbone import MASK

SHOWN = 5  # differences that an error lists


def check_shapes(state: Mapping, model: nn.Module) -> None:
    """Refuses a checkpoint whose traced tensors do not fit `model`.

    Raises:
        ValueError: Names the tensors and says what to do.
    """
    here = [*model.named_parameters(), *model.named_buffers()]
    _refuse_differences(state['graph']['shapes'], _shapes(dict(here)))


def check_weights(weights: Mapping, model: nn.Module) -> None:
    """Refuses weights that lack tensors of `model`, or have others.

    mmengine only warns, and what is absent would go on from random values.

    Raises:
        ValueError: Names the tensors and says what to do.
    """
    bare = {n.removeprefix('module.'): each for n, each in weights.items()}
    _refuse_differences(_shapes(bare), _shapes(model.state_dict()))


def _shapes(tensors: Mapping) -> dict[str, tuple]:
    return {
        name: tuple(tensor.shape)
        for name, tensor in tensors.items()
        if isinstance(tensor, Tensor)  # not what `get_extra_state` adds
    }


def _shape(shape: tuple | None) -> str:
    return 'missing' if shape is None else str(tuple(shape))


def _refuse_differences(saved: Mapping, here: Mapping) -> None:
    differences = [
        f'{name} is {_shape(saved.get(name))} in the checkpoint and '
        f'{_shape(here.get(name))} in the model'
        for name in dict.fromkeys([*saved, *here])
        if MASK not in name and saved.get(name) != here.get(name)
    ]
    if not differences:
        return
    rest = len(differences) - SHOWN
    raise ValueError(
        'The checkpoint was taken from another model: '
        + '; '.join(differences[:SHOWN])
        + (f'; and {rest} more' if rest > 0 else '')
        + '. Resume with the config that wrote it (checkpoint["meta"]["cfg"])'
        ', or start anew from its weights with load_from=... and '
        'resume=False.'
    )
