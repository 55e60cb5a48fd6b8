"""What operators cost, as functions of the active channels.

Lengths of dimensions are sums over groups, so that the cost of an allocation
is exact and needs no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
class Geometry:
    """How an operator goes over positions, whatever its channels.

    What it costs in time or memory depends on it; multiply-adds need only
    the product of these numbers, which is in `Work.each`.

    Attributes:
        kernel: Sides of the window; empty for a matrix product.
        stride: Of the window, per side.
        groups: Of the dense convolution.
        out: Sizes of the output but for its channels, samples first.
    """

    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    groups: int = 1
    out: tuple[int, ...] = ()


NO_WINDOW = Geometry()


@dataclass(frozen=True)
class Work:
    """Multiply-adds of one operator call: `each * rows * columns`.

    Attributes:
        module: Path of the module that ran it.
        op: The operator's name.
        each: Multiply-adds per pair of an out- and an in-channel.
        rows: Length of the weight's out-dimension.
        columns: Length of the weight's in-dimension.
        geometry: How it goes over positions.
    """

    module: str
    op: str
    each: int
    rows: Extent
    columns: Extent
    geometry: Geometry = NO_WINDOW

    def flops(self, counts: Mapping[str, int]) -> int:
        """Multiply-adds left at an allocation."""
        return (
            self.each * self.rows.length(counts) * self.columns.length(counts)
        )
