"""The channel graph: every channel of a model, exactly once, and its cost.

Plain data that can be built by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .cost import Extent, Work
from .groups import ChannelGroup


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
