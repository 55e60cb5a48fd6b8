"""What the sub-model may cost, as a share of what the dense model costs.

Costs are exact: the graph's own count of an allocation, never an estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Optional

from ..graph.graph import ChannelGraph
from ..registry import Table
from ..values import is_share
from .scope import module_filter

Counts = Mapping[str, int]
Within = Optional[Callable[[str], bool]]

# Each function returns the cost of an allocation; `within` selects the
# module paths that are counted (None: all).
BUDGETS = Table('budget type')


def budget(key: str) -> Callable:
    """Registers a cost under the name that `Budget.type` uses."""
    return BUDGETS.register(key)


@budget('channels')
def channels(graph: ChannelGraph, counts: Counts, within: Within) -> int:
    """Active channels of the free groups."""
    return sum(
        counts.get(name, group.size)
        for name, group in graph.free.items()
        if within is None or any(map(within, group.modules))
    )


@budget('flops')
def flops(graph: ChannelGraph, counts: Counts, within: Within) -> int:
    """Multiply-adds of one inference pass."""
    return graph.flops(counts, within)


@budget('params')
def params(graph: ChannelGraph, counts: Counts, within: Within) -> int:
    """Parameters that are physically there after slimming."""
    return graph.params(counts, within)


@dataclass(frozen=True)
class Budget:
    """The share of the dense model's cost that the sub-model may have.

    Attributes:
        type: A key of `BUDGETS`.
        keep: The share in (0, 1].
        of: 'model' counts the whole model, 'scope' only what is explored.
    """

    type: str
    keep: float
    of: str = 'model'

    def __post_init__(self):
        BUDGETS.look_up(self.type)
        if not is_share(self.keep) or self.keep == 0:
            raise ValueError(
                f'keep={self.keep!r} is not a share of the dense model; write '
                'a number above 0 and up to 1, such as keep=0.5.'
            )
        if self.of not in ('model', 'scope'):
            raise ValueError(
                f"of={self.of!r} is unknown; write of='model' or of='scope'."
            )

    def cost(
        self,
        graph: ChannelGraph,
        counts: Counts | None = None,
        scope: tuple[str, ...] | None = None,
    ) -> int:
        """Cost of an allocation; groups left out of `counts` keep all."""
        within = module_filter(scope) if self.of == 'scope' else None
        return BUDGETS[self.type](graph, counts or {}, within)

    def __str__(self):
        return f"{100 * self.keep:.3g}% of the {self.of}'s {self.type}"
