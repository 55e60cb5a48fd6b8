"""Which entries of which tensors are in use under masks of channels.

An entry is in use while the channels of all its dimensions are active, so
what is in use of a tensor is a tensor too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ..graph.groups import ChannelGroup

Shape = tuple[int, ...]


class Activity:
    """The entries in use of every tensor that explored channels touch.

    Args:
        groups: The explored groups.
        keep: The bool mask of each of them.
        shapes: The dense shapes of the model's tensors.
    """

    def __init__(
        self,
        groups: Mapping[str, ChannelGroup],
        keep: Mapping[str, Tensor],
        shapes: Mapping[str, Shape],
    ):
        self._lines: dict[str, dict[int, Tensor]] = {}
        self._directions: dict[str, int] = {}  # their dimension
        for name, group in groups.items():
            for piece in group.slices:
                lines = self._lines.setdefault(piece.tensor, {})
                size = shapes[piece.tensor][piece.dim]
                line = lines.setdefault(
                    piece.dim, torch.ones(size, dtype=torch.bool)
                )
                line[piece.positions(~keep[name])] = False
                if piece.idle:
                    self._directions[piece.tensor] = piece.dim
        self._dense = {name: tuple(shapes[name]) for name in self._lines}
        self._positions = {
            name: {
                dim: line.nonzero()[:, 0]
                for dim, line in lines.items()
                if not line.all()
            }
            for name, lines in self._lines.items()
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __contains__(self, name: str) -> bool:
        return name in self._lines

    def of(self, name: str, but: int | None = None) -> Tensor:
        """A mask that broadcasts to the tensor; dimension `but` left out."""
        rank = len(self._dense[name])
        mask = torch.ones((1,) * rank, dtype=torch.bool)
        for dim, line in self._lines[name].items():
            if dim != but:
                shape = [1] * rank
                shape[dim] = -1
                mask = mask & line.view(shape)
        return mask

    def ones(self, name: str) -> Tensor | None:
        """A mask of what is one, not zero, while it is out of use.

        Vectors of which the direction counts, where they read what is in
        use; None if the tensor has none.
        """
        dim = self._directions.get(name)
        if dim is None:
            return None
        return self.of(name, but=dim) & ~self.of(name)

    def idle(self, name: str, dense: Tensor) -> Tensor:
        """Dense values with ones where the tensor has them out of use."""
        ones = self.ones(name)
        if ones is None:
            return dense
        return torch.where(ones.to(dense.device), 1, dense)

    def zeroed(self, name: str, beside: Tensor) -> Tensor:
        """What an optimizer keeps beside a tensor, zero out of use.

        Weight decay pulls at ones; where a tensor is zero it does nothing.
        """
        if name not in self._directions:
            return beside
        return torch.where(self.of(name).to(beside.device), beside, 0)

    def dense_shape(self, name: str) -> Shape:
        """Shape of the whole tensor."""
        return self._dense[name]

    def shape(self, name: str) -> Shape:
        """Shape of what is in use."""
        shape = list(self._dense[name])
        for dim, positions in self._positions[name].items():
            shape[dim] = len(positions)
        return tuple(shape)

    def cut(self, name: str, dense: Tensor) -> Tensor:
        """What is in use of a tensor, as a tensor of its own."""
        for dim, positions in self._positions[name].items():
            dense = dense.index_select(dim, positions.to(dense.device))
        return dense

    def widen(self, name: str, narrow: Tensor) -> Tensor:
        """The whole tensor of which `narrow` is in use; else zeros."""
        for dim, positions in self._positions[name].items():
            shape = list(narrow.shape)
            shape[dim] = self._dense[name][dim]
            wide = narrow.new_zeros(shape)
            narrow = wide.index_copy_(dim, positions.to(narrow.device), narrow)
        return narrow
