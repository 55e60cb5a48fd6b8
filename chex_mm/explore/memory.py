"""The most recently used values of channels that are inactive.

An entry of a tensor is remembered as it last was in use: it is in use while
the channels of all its dimensions are active.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..channels.graph import ChannelGroup

Tensors = Mapping[str, Tensor]


class Activity:
    """Which entries of which tensors are in use under masks of channels.

    Args:
        groups: The explored groups.
        keep: The bool mask of each of them.
        tensors: The model's tensors, for shapes and devices.
    """

    def __init__(
        self,
        groups: Mapping[str, ChannelGroup],
        keep: Tensors,
        tensors: Tensors,
    ):
        self._lines: dict[str, dict[int, Tensor]] = {}
        for name, group in groups.items():
            for piece in group.slices:
                tensor = tensors[piece.tensor]
                lines = self._lines.setdefault(piece.tensor, {})
                line = lines.setdefault(
                    piece.dim,
                    torch.ones(tensor.shape[piece.dim], dtype=torch.bool),
                )
                line[piece.positions(~keep[name])] = False
        self._ranks = {name: tensors[name].dim() for name in self._lines}
        self._devices = {name: tensors[name].device for name in self._lines}

    def __iter__(self):
        return iter(self._lines)

    def of(self, name: str, but: int | None = None) -> Tensor:
        """A mask that broadcasts to the tensor; dimension `but` left out."""
        mask = torch.ones((1,) * self._ranks[name], dtype=torch.bool)
        for dim, line in self._lines[name].items():
            if dim != but:
                shape = [1] * self._ranks[name]
                shape[dim] = -1
                mask = mask & line.view(shape)
        return mask.to(self._devices[name])


class Zeroing:
    """Sets what is out of use to zero: masks made once, applied often."""

    def __init__(self, active: Activity, tensors: Tensors):
        self._vectors: dict[str, Tensor] = {}  # 1 in use, 0 out of use
        self._others: dict[str, Tensor] = {}  # True out of use
        for name in active:
            mask = active.of(name)
            if mask.all():
                continue
            if mask.dim() == 1:
                self._vectors[name] = mask.to(tensors[name].dtype)
            else:
                self._others[name] = ~mask

    def __call__(self, tensors: Tensors) -> None:
        """Zeroes in place; all vectors (most of the tensors) at once."""
        vectors = [tensors[name] for name in self._vectors]
        if vectors:
            masks = [
                mask.to(vector)
                for mask, vector in zip(self._vectors.values(), vectors)
            ]
            torch._foreach_mul_(vectors, masks)
            torch._foreach_add_(vectors, 0)  # -0.0 becomes 0.0
        for name, mask in self._others.items():
            tensors[name].masked_fill_(mask.to(tensors[name].device), 0)


class Memory:
    """One dense tensor for every tensor that explored channels touch."""

    def __init__(self, tensors: Tensors, names):
        self.values = {name: tensors[name].detach().clone() for name in names}

    def recall(self, tensors: Tensors, active: Activity, name: str) -> Tensor:
        """The tensor with all entries as they last were in use."""
        return torch.where(
            active.of(name), tensors[name].detach(), self.values[name]
        )

    def swap(self, tensors: Tensors, before: Activity, after: Activity):
        """Remembers what was in use and leaves what is in use now."""
        for name in self.values:
            self.values[name] = self.recall(tensors, before, name)
        self.restore(tensors, after)

    def restore(self, tensors: Tensors, active: Activity):
        """Writes the remembered values, zero where they are out of use."""
        for name, values in self.values.items():
            live = torch.where(active.of(name), values, 0)
            tensors[name].detach().copy_(live)


def swap_copy(
    copy: Tensors, tensors: Tensors, before: Activity, after: Activity
) -> None:
    """Gives an averaged copy the sub-model of the live tensors.

    What stays keeps its average; what returns starts at the live value.
    """
    for name in after:
        target = copy[name].detach()
        live = tensors[name].detach().to(target)
        stays = (before.of(name) & after.of(name)).to(target.device)
        target.copy_(torch.where(stays, target, live))


def reset_optimizer(
    optimizer: Optimizer, tensors: Tensors, before: Activity, after: Activity
) -> None:
    """Zeroes the state of every entry that left or returned."""
    for name in after:
        changed = ~(before.of(name) & after.of(name))
        tensor = tensors[name]
        if tensor not in optimizer.state or not changed.any():
            continue
        for value in optimizer.state[tensor].values():
            if torch.is_tensor(value) and value.shape == tensor.shape:
                value.masked_fill_(changed.to(value.device), 0)
