"""What keeps compute from being cut, module by module.

Pinned are the multiply-adds between out- and in-channels that may both not be
cut: those that no allocation takes away.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from ..graph.cost import Work
from ..graph.graph import ChannelGraph
from ..graph.groups import Role, owner

SIDES = {Role.ROW: 'out', Role.FILTER: 'out', Role.COLUMN: 'in'}
NO_WEIGHT = 'it computes with activations only'


@dataclass(frozen=True)
class PinnedWork:
    """The compute of one module that no cut can reduce.

    Attributes:
        module: Its path.
        flops: Multiply-adds that stay.
        total: Multiply-adds of the whole module.
        reasons: Why, each for its outgoing ('out: ...') or its incoming
            channels ('in: ...').
    """

    module: str
    flops: int
    total: int
    reasons: tuple[str, ...]

    def __str__(self):
        return (
            f'{self.module or "(model)"}: {self.flops} of {self.total} '
            f'multiply-adds are pinned; {"; ".join(self.reasons)}'
        )


def pinned_work(graph: ChannelGraph) -> list[PinnedWork]:
    """The modules whose compute is pinned, the most expensive first."""
    reasons, counts = _reasons(graph), graph.counts()
    total, stays = Counter(), Counter()
    for work in graph.work:
        total[work.module] += work.flops(counts)
        stays[work.module] += _stays(work)
    return [
        PinnedWork(module, flops, total[module], _said(reasons, module))
        for module, flops in stays.most_common()
        if flops
    ]


def pinned_by_reason(graph: ChannelGraph) -> dict[str, int]:
    """Reason to the multiply-adds that it pins, the most first.

    Where both sides of a module are pinned it counts for both reasons.
    """
    found = Counter()
    for work in pinned_work(graph):
        for reason in {r.partition(': ')[2] for r in work.reasons}:
            found[reason] += work.flops
    return dict(found.most_common())


def _stays(work: Work) -> int:
    return work.each * work.rows.fixed * work.columns.fixed


def _reasons(graph: ChannelGraph) -> dict[str, dict[str, None]]:
    """Module to why its out- and in-channels are pinned, in order."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for group in graph.groups.values():
        for piece in group.slices if group.pinned else ():
            if piece.role in SIDES:
                module, _ = owner(piece.tensor)
                found[module][f'{SIDES[piece.role]}: {group.pinned}'] = None
    return found


def _said(reasons: dict, module: str) -> tuple[str, ...]:
    """Outgoing before incoming."""
    found = sorted(reasons.get(module, ()), key=lambda r: r[:3] != 'out')
    return tuple(found) or (f'all: {NO_WEIGHT}',)
