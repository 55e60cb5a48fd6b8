"""How many channels each group gets: one global quantile meets the budget.

Every count is a level (a whole multiple of the divisor, or the full group)
and the cost never exceeds the budget.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..graph.graph import ChannelGraph
from ..graph.groups import ChannelGroup
from .budgets import Budget
from .scope import select_groups

Counts = dict[str, int]


@dataclass(frozen=True)
class AllocationSpace:
    """The allocations that may be chosen, and what they cost.

    Attributes:
        graph: The channels and their cost.
        budget: What an allocation may cost.
        levels: Counts that each explored group may have, ascending; the
            last is the full group.
        scope: Patterns of the modules that a budget of the scope counts.
    """

    graph: ChannelGraph
    budget: Budget
    levels: Mapping[str, tuple[int, ...]]
    scope: tuple[str, ...] | None = None

    @classmethod
    def build(
        cls,
        graph: ChannelGraph,
        budget: Budget,
        scope: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        divisor: int = 1,
    ) -> AllocationSpace:
        """The space of all widths that respect the divisor."""
        names = select_groups(graph, scope, exclude)
        levels = {n: _levels(graph.groups[n], divisor) for n in names}
        return cls(graph, budget, levels, scope and tuple(scope))

    def with_floor(self, share: Callable[[int], float]) -> AllocationSpace:
        """The part where a group of n channels keeps at least share(n)."""
        levels = {}
        for name, options in self.levels.items():
            first = bisect_left(options, math.ceil(share(options[-1])))
            levels[name] = options[first:]
        return replace(self, levels=levels)

    @property
    def lowest(self) -> Counts:
        """The narrowest allocation."""
        return {name: options[0] for name, options in self.levels.items()}

    def share(self, counts: Mapping[str, int]) -> float:
        """Cost of an allocation over the cost of the dense model."""
        return self._cost(counts) / self._cost({})

    def is_within_budget(self, counts: Mapping[str, int]) -> bool:
        """Whether an allocation costs no more than the budget."""
        return self._cost(counts) <= self.budget.keep * self._cost({})

    def nearest(self, name: str, count: float) -> int:
        """The level of group `name` that is closest to `count`."""
        options = self.levels[name]
        above = min(bisect_left(options, count), len(options) - 1)
        below = max(above - 1, 0)
        is_up = options[above] - count <= count - options[below]
        return options[above if is_up else below]

    def at_least(self, name: str, count: float) -> int:
        """The first level of group `name` that is not below `count`."""
        options = self.levels[name]
        return options[min(bisect_left(options, count), len(options) - 1)]

    def check_reachable(self) -> None:
        """Refuses a budget below the narrowest allocation.

        Raises:
            ValueError: States the reachable range and what limits it.
        """
        if self.is_within_budget(self.lowest):
            return
        low, high = reachable_range(self)
        fixed = self.share(dict.fromkeys(self.levels, 0))
        least = math.ceil(low * 100 - 1e-9) / 100
        raise ValueError(
            f'A budget of {self.budget} is out of reach: the share can be '
            f'between {least:.2f} and {high:.2f}. Of the dense cost '
            f'{fixed:.1%} is pinned or out of scope, {low - fixed:.1%} is '
            'the narrowest width that floor and divisor allow. Write '
            f'keep={least:.2f} or more, lower the floor or the divisor, or '
            'widen the scope.'
        )

    def _cost(self, counts: Mapping[str, int]) -> int:
        return self.budget.cost(self.graph, counts, self.scope)


def reachable_range(space: AllocationSpace) -> tuple[float, float]:
    """The smallest and the largest share that a budget can ask for."""
    return space.share(space.lowest), space.share({})


def uniform_share(space: AllocationSpace) -> float:
    """The share of channels, equal in all groups, that costs the budget."""
    space.check_reachable()
    sizes = {name: options[-1] for name, options in space.levels.items()}
    return _largest_share(
        lambda share: space.is_within_budget(
            {name: share * size for name, size in sizes.items()}
        )
    )


def uniform_counts(
    graph: ChannelGraph,
    budget: Budget,
    scope: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    divisor: int = 1,
) -> Counts:
    """Channels per explored group of the uniformly narrow model."""
    space = AllocationSpace.build(graph, budget, scope, exclude, divisor)
    space.check_reachable()

    def rounded(share: float) -> Counts:
        return {
            name: space.nearest(name, share * options[-1])
            for name, options in space.levels.items()
        }

    return rounded(
        _largest_share(lambda share: space.is_within_budget(rounded(share)))
    )


def allocate(
    space: AllocationSpace,
    scores: Mapping[str, Tensor],
    keep: Mapping[str, Tensor],
) -> Counts:
    """Channels per group: the best by score over all groups, in budget.

    Active channels join in the order of their scores, equal ones such that
    the groups fill evenly, until the next would break the budget; groups
    that still have room for a whole step then take it, best channel first.

    Args:
        scores: One value per channel, comparable over groups.
        keep: What is active now; no group gets more than that.
    """
    space.check_reachable()
    ranked = {
        name: scores[name][keep[name]].sort(descending=True).values
        for name in space.levels
    }
    owners = _order(ranked, {n: len(keep[n]) for n in ranked})
    low, high = 0, len(owners)
    while low < high:
        middle = (low + high + 1) // 2
        if space.is_within_budget(_prefix(space, ranked, owners[:middle])):
            low = middle
        else:
            high = middle - 1
    return _fill(space, ranked, _prefix(space, ranked, owners[:low]))


def _levels(group: ChannelGroup, divisor: int) -> tuple[int, ...]:
    """Counts whose positions in every producer are multiples of it."""
    step = math.lcm(
        *(
            divisor // math.gcd(divisor, piece.index.shape[1])
            for piece in group.producers
        )
    )
    return (*range(step, group.size, step), group.size)


def _largest_share(fits: Callable[[float], bool]) -> float:
    """The largest share in [0, 1] that passes, to 12 decimals."""
    low, high = 0.0, 1.0
    if fits(high):
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _order(ranked: Mapping[str, Tensor], sizes: Counts) -> Tensor:
    """The group (by position) that each channel belongs to, best first."""
    values = torch.cat(list(ranked.values()))
    filled = torch.cat(
        [torch.arange(len(v)) / sizes[name] for name, v in ranked.items()]
    )
    owners = torch.arange(len(ranked)).repeat_interleave(
        torch.tensor([len(v) for v in ranked.values()])
    )
    order = filled.argsort(stable=True)
    order = order[values[order].argsort(descending=True, stable=True)]
    return owners[order]


def _prefix(
    space: AllocationSpace, ranked: Mapping[str, Tensor], owners: Tensor
) -> Counts:
    """The allocation when the channels of `owners` have joined."""
    joined = torch.bincount(owners, minlength=len(ranked)).tolist()
    return {
        name: min(space.nearest(name, count), len(ranked[name]))
        for name, count in zip(ranked, joined)
    }


def _fill(
    space: AllocationSpace, ranked: Mapping[str, Tensor], counts: Counts
) -> Counts:
    """Adds steps, best next channel first, until none fits any more."""

    def next_best(name: str) -> tuple[float, float]:
        count = counts[name]
        return float(ranked[name][count]), -count / space.levels[name][-1]

    waiting = list(ranked)
    while True:
        waiting = [
            name
            for name in waiting
            if _next_level(space, name, counts[name]) <= len(ranked[name])
        ]
        if not waiting:
            return counts
        name = max(waiting, key=next_best)
        wider = {**counts, name: _next_level(space, name, counts[name])}
        if space.is_within_budget(wider):
            counts = wider
        else:
            waiting.remove(name)


def _next_level(space: AllocationSpace, name: str, count: int) -> float:
    options = space.levels[name]
    above = bisect_right(options, count)
    return options[above] if above < len(options) else math.inf
