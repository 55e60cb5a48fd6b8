"""Empty tensors have channels like any other (no region was selected).

Labels of an empty tensor have length 1 where it has none, so that they still
tell of its other dimensions; a rule sees a tensor of that shape in its place.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ..dispatch.call import Call

aten = torch.ops.aten
JOINING = {aten.cat, aten.stack}  # what is empty adds nothing


def filled_shape(shape) -> tuple[int, ...]:
    """A shape with length 1 where it has none."""
    return tuple(max(size, 1) for size in shape)


def filled(labels: Tensor) -> Tensor:
    """What was taken of labels, with the first one where it was nothing.

    Raises:
        RuntimeError: It was not a view, so that no label is left.
    """
    if labels.numel():
        return labels
    shape = filled_shape(labels.shape)
    last = labels.storage_offset() + sum(
        (size - 1) * stride for size, stride in zip(shape, labels.stride())
    )
    if 8 * last >= labels.untyped_storage().nbytes():  # bytes of an integer
        raise RuntimeError('nothing tells the channels of an empty tensor')
    return labels.as_strided(shape, labels.stride())


def is_hollow(call: Call) -> bool:
    """Whether a rule has to see others in place of empty tensors."""
    outs = [out for out in call.outs if isinstance(out, Tensor)]
    if all(tensor.numel() for tensor in (*call.inputs, *outs)):
        return False
    return call.key not in JOINING or not call.out.numel()


def fill(call: Call) -> tuple[Call, dict[Tensor, Tensor]]:
    """The same call with a tensor of length 1 wherever one is empty.

    Returns:
        The call, and by empty tensor the one in its place.
    """
    known: dict[Tensor, Tensor] = {}

    def stand_in(value):
        if not isinstance(value, Tensor) or value.numel():
            return value
        if value not in known:
            known[value] = value.new_zeros(filled_shape(value.shape))
        return known[value]

    return replace(
        call,
        arguments=tree_map(stand_in, call.arguments),
        inputs=tuple(map(stand_in, call.inputs)),
        out=tree_map(stand_in, call.out),
    ), known
