"""A channel, everything that must be cut together, and groups of channels.

Plain data: names and positions, no tensor of a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from torch import Tensor


class Role(str, Enum):
    """What a slice of a tensor is to the channel it belongs to."""

    ROW = 'row'  # out-dimension of a weight: it computes the channel
    COLUMN = 'column'  # in-dimension of a weight: it reads the channel
    FILTER = 'filter'  # depthwise kernel: reads and computes it
    BIAS = 'bias'
    SCALE = 'scale'  # gamma of a normalisation
    SHIFT = 'shift'  # beta of a normalisation
    STATISTIC = 'statistic'  # running mean or variance
    DIRECTION = 'direction'  # vectors of any length; never 0, see `Slice`
    VALUE = 'value'  # any other vector along channels


def owner(tensor: str) -> tuple[str, str]:
    """Path of the module that computes with a tensor, and its name there.

    Of a parametrised `conv.weight` that is `conv`, not the list of
    parametrisations in it that holds `conv.parametrizations.weight.original`.
    """
    path, _, name = tensor.rpartition('.')
    outer, found, inner = f'.{path}'.rpartition('.parametrizations.')
    return (outer[1:], inner) if found else (path, name)


@dataclass(frozen=True, eq=False)
class Slice:
    """Where one tensor holds the channels of a group.

    An inactive channel is zero in all of its slices but those of the role
    `Role.DIRECTION`: a vector of zeros has no direction (0 / 0), so it is
    made of ones, and what scales it is zero.

    Attributes:
        tensor: Name of the parameter or buffer in the model's state dict.
        dim: The dimension to cut.
        role: What the slice is to the channel.
        index: (channels, members) positions along `dim`; channel `c` owns
            `index[c]`. Several members: a flattened map, a GroupNorm group,
            tied slots of a grouped convolution.
    """

    tensor: str
    dim: int
    role: Role
    index: Tensor

    @property
    def idle(self) -> int:
        """What it holds of an inactive channel."""
        return int(self.role is Role.DIRECTION)

    def positions(self, keep: Tensor) -> Tensor:
        """Positions along `dim` of the channels in the bool mask `keep`."""
        return self.index[keep].flatten()

    def __str__(self):
        members = self.index.shape[1]
        each = f' ({members} each)' if members > 1 else ''
        return f'{self.role.value} of {self.tensor} dim {self.dim}{each}'


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that live in the same dimensions of the same tensors.

    Attributes:
        name: Module path of the first producer; unique in the graph.
        size: Number of channels.
        slices: Where they are; at most one slice per tensor dimension.
        pinned: Why no channel of the group may be cut, or None.
    """

    name: str
    size: int
    slices: tuple[Slice, ...]
    pinned: str | None = None

    def with_role(self, *roles: Role) -> tuple[Slice, ...]:
        """The slices that have one of `roles`."""
        return tuple(s for s in self.slices if s.role in roles)

    @property
    def producers(self) -> tuple[Slice, ...]:
        """The slices that compute the channels.

        Weight rows; without any, the depthwise filters or whatever else is
        not merely a reader. How strong a channel is, no direction tells.
        """
        return (
            self.with_role(Role.ROW)
            or self.with_role(Role.FILTER)
            or tuple(
                s
                for s in self.slices
                if s.role not in (Role.COLUMN, Role.DIRECTION)
            )
        )

    @property
    def modules(self) -> tuple[str, ...]:
        """Paths of the modules that compute the channels."""
        return tuple(owner(s.tensor)[0] for s in self.producers)

    def direction(self, length: Slice) -> Slice | None:
        """The directions that a slice holds the lengths of, if it does."""
        for each in self.with_role(Role.DIRECTION):
            if owner(each.tensor) == owner(length.tensor):
                return each
        return None

    def __str__(self):
        state = f'pinned: {self.pinned}' if self.pinned else 'free'
        return f'{self.name}: {self.size} channels, {state}; ' + '; '.join(
            map(str, self.slices)
        )


def count_active(keep: Mapping[str, Tensor]) -> dict[str, int]:
    """Active channels per group under the masks `keep`."""
    return {name: int(mask.sum()) for name, mask in keep.items()}
