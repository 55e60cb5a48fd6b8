"""What is coupled with what: channels, channel groups and their cost.

A channel is everything that must be cut together, and a `ChannelGraph` holds
every channel of a model exactly once. All of it is plain data that can be
built by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import torch
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


@dataclass(frozen=True)
class Extent:
    """Length of a dimension as a function of the active channels.

    `fixed` positions stay whatever happens; each active channel of group `g`
    adds `per_channel[g]`.
    """

    fixed: int
    per_channel: Mapping[str, int] = field(default_factory=dict)

    def length(self, counts: Mapping[str, int]) -> int:
        """Positions left when group `g` keeps `counts[g]` channels."""
        return self.fixed + sum(
            each * counts[name] for name, each in self.per_channel.items()
        )


@dataclass(frozen=True)
class Work:
    """Multiply-adds of one operator call: `each * rows * columns`.

    Attributes:
        module: Path of the module that ran it.
        op: The operator's name.
        each: Multiply-adds per pair of an out- and an in-channel.
        rows: Length of the weight's out-dimension.
        columns: Length of the weight's in-dimension.
    """

    module: str
    op: str
    each: int
    rows: Extent
    columns: Extent

    def flops(self, counts: Mapping[str, int]) -> int:
        """Multiply-adds left at an allocation."""
        return (
            self.each * self.rows.length(counts) * self.columns.length(counts)
        )


@dataclass(frozen=True)
class UnknownOp:
    """An operator without a rule that channels entered."""

    op: str
    module: str
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]

    def __str__(self):
        shapes = ', '.join(map(str, self.inputs))
        made = ', '.join(map(str, self.outputs))
        return f'{self.op}  {self.module or "(model)"}  {shapes} -> {made}'


@dataclass(frozen=True, eq=False)
class ChannelGraph:
    """Every channel of a model, and what an allocation of them costs.

    An allocation is a mapping `counts` from group name to active channels;
    groups left out keep all. FLOPs are multiply-adds of convolutions, linear
    layers and matrix products in one inference pass, the convention of the
    detection literature.

    Example: `Conv2d(2, 4) -> BatchNorm2d(4) -> Conv2d(4, 8)` has one free
    group of 4 channels (rows of the first convolution, the norm's vectors,
    columns of the second) and two pinned ones: the 2 input channels, which
    the data fixes, and the 8 output channels, which leave the model.

    Attributes:
        groups: By name, in the order of the forward pass.
        shapes: Dense shape of every parameter and buffer.
        parameters: Names in `shapes` that are parameters.
        extents: (tensor, dim) to its length; dimensions left out are fixed.
        work: The operator calls that cost multiply-adds.
        sizes: (module path, attribute) to its value, for attributes of
            modules without weights that count channels.
        unknown_ops: Operators without a rule that channels entered.
        doubtful: Parameters that are unreached only, maybe, because no pass
            could be run in the other mode of the model.
    """

    groups: dict[str, ChannelGroup]
    shapes: dict[str, tuple[int, ...]]
    parameters: frozenset[str]
    extents: dict[tuple[str, int], Extent]
    work: tuple[Work, ...] = ()
    sizes: dict[tuple[str, str], Extent] = field(default_factory=dict)
    unknown_ops: tuple[UnknownOp, ...] = ()
    doubtful: tuple[str, ...] = ()

    @property
    def free(self) -> dict[str, ChannelGroup]:
        """The groups whose channels may be cut."""
        return {n: g for n, g in self.groups.items() if g.pinned is None}

    @property
    def unreached(self) -> list[str]:
        """Parameters that no traced pass has used, so that they stay.

        A pass that uses them may need what is cut: trace it as well.
        """
        reached = {tensor for tensor, _ in self.extents}
        return sorted(self.parameters - reached)

    def counts(self, keep: Mapping[str, Tensor] | None = None):
        """Active channels per group under the masks `keep`."""
        keep = keep or {}
        return {
            name: int(keep[name].sum()) if name in keep else group.size
            for name, group in self.groups.items()
        }

    def flops(
        self,
        counts: Mapping[str, int] | None = None,
        within: Callable[[str], bool] | None = None,
    ) -> int:
        """Multiply-adds of an allocation; `within` selects module paths."""
        counts = {**self.counts(), **(counts or {})}
        return sum(
            work.flops(counts)
            for work in self.work
            if within is None or within(work.module)
        )

    def params(
        self,
        counts: Mapping[str, int] | None = None,
        within: Callable[[str], bool] | None = None,
    ) -> int:
        """Parameters of an allocation; `within` selects module paths."""
        counts = {**self.counts(), **(counts or {})}
        return sum(
            math.prod(self.shape(name, counts))
            for name in self.parameters
            if within is None or within(name.rpartition('.')[0])
        )

    def shape(self, tensor: str, counts: Mapping[str, int]) -> tuple[int, ...]:
        """Shape of `tensor` at a complete allocation."""
        return tuple(
            self.extents[tensor, dim].length(counts)
            if (tensor, dim) in self.extents
            else size
            for dim, size in enumerate(self.shapes[tensor])
        )

    def check_keep(self, keep: Mapping[str, Tensor]) -> None:
        """Refuses masks that name no group, cut a pinned one or empty one.

        Raises:
            ValueError: Says which group, what was given and what would fit.
        """
        for name, mask in keep.items():
            if name not in self.groups:
                raise ValueError(
                    f'There is no channel group {name!r}. Groups that may be '
                    f'cut: {", ".join(self.free) or "none"}.'
                )
            group = self.groups[name]
            if mask.dtype != torch.bool or tuple(mask.shape) != (group.size,):
                raise ValueError(
                    f'The mask of {name!r} is {mask.dtype} of shape '
                    f'{tuple(mask.shape)}; it must be torch.bool of shape '
                    f'({group.size},).'
                )
            if group.pinned and not mask.all():
                raise ValueError(
                    f'{name!r} cannot be cut: {group.pinned}. Leave it out '
                    'of the masks.'
                )
            if not mask.any():
                raise ValueError(
                    f'The mask of {name!r} keeps no channel; keep at least '
                    'one.'
                )

    def __str__(self):
        lines = [
            f'{len(self.free)} of {len(self.groups)} channel groups may be '
            f'cut; {self.flops() / 1e9:.3g} GFLOPs, '
            f'{self.params() / 1e6:.3g} M parameters.'
        ]
        lines += [str(group) for group in self.groups.values()]
        if self.unknown_ops:
            lines.append(self.unknown_text())
        if self.unreached:
            lines.append(self.unreached_text())
        return '\n'.join(lines)

    def unknown_text(self) -> str:
        """The operators without a rule, and how to declare one."""
        return '\n'.join(
            [
                f'{len(self.unknown_ops)} operators carry channels but have '
                'no rule; what they touch is not pruned:',
                *(f'  {op}' for op in self.unknown_ops),
                'Declare one with @rule(torch.ops.aten.foo), '
                'see docs/rules.md',
            ]
        )

    def unreached_text(self) -> str:
        """The parameters that no pass used, and how to reach them."""
        return (
            f'{len(self.unreached)} parameters are in none of the traced '
            f'passes and stay as they are: {", ".join(self.unreached)}. If a '
            'pass uses them, trace it as well: trace_channels(model, inputs, '
            'also=[run])'
        )
