"""What a trace found out: which labels live where, are tied, are pinned.

Facts of several runs (inference, training, replay) simply add up.

Example, two convolutions that meet in a sum:
    >>> from torch import nn
    >>> from chex_mm.trace.flow import Flow
    >>> from chex_mm.trace.rules import RULES
    >>> a, b = (nn.Conv2d(3, 4, 1, bias=False) for _ in range(2))
    >>> facts = Facts()
    >>> weights = {'a.weight': a.weight, 'b.weight': b.weight}
    >>> with torch.no_grad(), Flow(weights, facts, RULES) as flow:
    ...     x = torch.zeros(1, 3, 2, 2)
    ...     y = a(x) + b(x)
    >>> for space in facts.spaces.values():
    ...     print(space.tensor, space.dim, space.labels.tolist())
    a.weight 1 [1, 2, 3]
    a.weight 0 [4, 5, 6, 7]
    b.weight 1 [8, 9, 10]
    b.weight 0 [11, 12, 13, 14]
    >>> facts.ties[0].pairs.tolist()  # rows of a with rows of b
    [[4, 11], [5, 12], [6, 13], [7, 14]]
    >>> [labels.tolist() for labels, _ in facts.pins]  # x has a fixed size
    [[1, 2, 3], [8, 9, 10]]
    >>> flow.labels(y)[0, :, 0, 0].tolist()
    [4, 5, 6, 7]
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..graph.cost import NO_WINDOW, Geometry
from ..graph.graph import UnknownOp
from ..graph.groups import Role
from .labels import without_repeats


@dataclass(frozen=True)
class Space:
    """The labels along one dimension of one tensor of the model."""

    tensor: str
    dim: int
    role: Role
    labels: Tensor  # (length,), label 0: no channel


@dataclass(frozen=True)
class Tie:
    """Labels that are one channel, (pairs, 2), and the operator's place."""

    pairs: Tensor
    place: str


@dataclass(frozen=True)
class Take:
    """Positions that an operator takes out of a dimension.

    Attributes:
        place: The operator and the module it ran in.
        labels: (positions, labels) what each position holds; one row, for
            all of them, where positions do not differ in their channels.
        pieces: The positions in each output.
    """

    place: str
    labels: Tensor
    pieces: tuple[Tensor, ...]

    @property
    def is_of_channels(self) -> bool:
        """Whether it takes some channels and leaves others."""
        return len(self.labels) > 1

    @property
    def parts(self) -> int | None:
        """Of how many equal parts every piece is one, or None."""
        total, size = len(self.labels), len(self.pieces[0])
        if not 1 < size < total or total % size:
            return None
        parts = torch.arange(total).view(-1, size)
        is_part = [
            len(piece) == size and bool((piece == parts).all(1).any())
            for piece in self.pieces
        ]
        return total // size if all(is_part) else None


@dataclass(frozen=True)
class LabelledWork:
    """Multiply-adds of an operator: `each * len(rows) * len(columns)`."""

    module: str
    op: str
    each: int
    rows: Tensor
    columns: Tensor
    geometry: Geometry = NO_WINDOW


@dataclass
class Facts:
    """The log of a trace. Label 0 means: not a channel, of fixed size."""

    spaces: dict[tuple[str, int], Space] = field(default_factory=dict)
    ties: list[Tie] = field(default_factory=list)
    pins: list[tuple[Tensor, str]] = field(default_factory=list)
    work: list[LabelledWork] = field(default_factory=list)
    sizes: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    unknown: dict[UnknownOp, None] = field(default_factory=dict)
    takes: list[Take] = field(default_factory=list)
    splits: dict[str, list[Tensor]] = field(default_factory=dict)  # by place
    rows: set[str] = field(default_factory=set)  # splits to keep by rows
    guessed: set[tuple[str, int]] = field(default_factory=set)  # roles of
    modes: set[bool] = field(default_factory=set)  # `training` of the model
    doubtful: tuple[str, ...] = ()  # of the runs
    size: int = 1  # labels given out, label 0 included

    def space(self, tensor: str, dim: int, role: Role, length: int) -> Tensor:
        """Labels along a dimension, made at its first use.

        A dimension of length 1 cannot be cut, so it holds no channel.
        """
        if (tensor, dim) not in self.spaces:
            if length == 1:
                labels = torch.zeros(1, dtype=torch.long)
            else:
                labels = torch.arange(self.size, self.size + length)
                self.size += length
            self.spaces[tensor, dim] = Space(tensor, dim, role, labels)
        return self.spaces[tensor, dim].labels

    def assume(self, labels: Tensor, role: Role) -> None:
        """Gives spaces that hold `labels` this role, where it was guessed."""
        first = int(labels.max()) if self.guessed else 0
        for place in sorted(self.guessed):
            space = self.spaces[place]
            if int(space.labels[0]) <= first <= int(space.labels[-1]):
                self.spaces[place] = replace(space, role=role)
                self.guessed.remove(place)
                return

    def role(self, labels: Tensor) -> Role | None:
        """Of the first space that holds one of `labels`, if any does."""
        labels = labels[labels != 0]
        for space in self.spaces.values():
            if torch.isin(space.labels, labels).any():
                return space.role
        return None

    def are_rows(self, labels: Tensor) -> bool:
        """Whether they are all rows of a tensor, constant in each row."""
        if not labels.ndim:
            return False
        few = without_repeats(labels, but=0)
        return few.numel() == len(labels) and any(
            space.dim == 0 and torch.equal(space.labels, few.flatten())
            for space in self.spaces.values()
        )
