"""The model that narrow copies of it have to agree with.

Plain data after a trace: its channel graph, the facts behind it, and what
follows from both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..graph.graph import ChannelGraph
from ..graph.groups import ChannelGroup
from .facts import Facts, Take
from .grouping import Components

NEXT_SPLIT = {'slots': 'rows', 'rows': 'pin'}


@dataclass(frozen=True, eq=False)
class Finding:
    """Why a narrow copy is not the model it was cut from.

    Attributes:
        labels: What must not be cut; none where labels do not say what.
        reason: The operator, the module and what happened there.
        split: Place of an operator that splits channels and how it shall
            keep them even, where that may be enough.
    """

    labels: Tensor
    reason: str
    split: tuple[str, str] | None = None


class Disagreement(Exception):
    def __init__(self, finding: Finding):
        super().__init__(finding.reason)
        self.finding = finding


class Origin:
    """The model that a narrow copy has to agree with.

    Attributes:
        graph: Its channels.
        facts: What its trace found.
        splits: How views and slices were kept even in that trace.
        is_free: Per label, whether it may be cut.
        ties: Sorted pairs of labels that are one channel.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        facts: Facts,
        splits: dict[str, str],
        components: Components | None = None,
    ):
        # Copies run what was traced, whatever else the model can do.
        self.graph = replace(graph, doubtful=())
        self.facts = facts
        self.splits = splits
        components = components or Components(facts)
        self.roots = components.roots
        free = ~components.is_pinned[components.roots]
        self.is_free = torch.from_numpy(free)
        self.ties = sorted_pairs(facts)
        self._count_members()

    def _count_members(self) -> None:
        """How often a label's tensor holds its channel, and which it is."""
        self._members = np.zeros(len(self.roots), dtype=np.int64)
        self._rank = np.zeros(len(self.roots), dtype=np.int64)
        for space in self.facts.spaces.values():
            labels = space.labels.numpy()
            _, where, times = np.unique(
                self.roots[labels], return_inverse=True, return_counts=True
            )
            order = where.argsort(kind='stable')
            starts = np.repeat(times.cumsum() - times, times)
            self._members[labels] = times[where]
            self._rank[labels[order]] = np.arange(len(labels)) - starts

    def labels_of(self, names: Iterable[str]) -> Tensor:
        """A label of every channel of some free groups."""
        groups = [self.graph.free[name] for name in names]
        return torch.cat([self._members_of(group) for group in groups])

    def masks_of(self, labels: Tensor) -> dict[str, Tensor]:
        """Which channels of every free group hold any of `labels`."""
        roots = self.roots[labels.flatten().numpy()]
        return {
            name: torch.from_numpy(
                np.isin(self.roots[self._members_of(group).numpy()], roots)
            )
            for name, group in self.graph.free.items()
        }

    def whole_groups(self, labels: Tensor) -> Tensor:
        """Labels of every channel of the groups that hold any of `labels`."""
        held = [n for n, mask in self.masks_of(labels).items() if mask.any()]
        return torch.cat([labels, self.labels_of(held)]) if held else labels

    def _members_of(self, group: ChannelGroup) -> Tensor:
        """One label per channel."""
        piece = group.slices[0]
        space = self.facts.spaces[piece.tensor, piece.dim]
        return space.labels[piece.index[:, 0]]

    def is_settled(self, pairs: Tensor) -> np.ndarray:
        """Per pair, whether both are one channel and the same part of it.

        Which branch a model takes may depend on its data (an FPN level
        without regions), so such pairs may meet in one run and not in
        another. Where both tensors hold the channel several times (a
        GroupNorm group), the first must meet the first, the second the
        second.
        """
        known = (pairs < len(self.roots)).all(1).numpy()
        ends = np.where(known[:, None], pairs.numpy(), 0)
        members = self._members[ends].clip(min=1)
        fewest, most = members.min(1), members.max(1)
        part = self._rank[ends] * fewest[:, None] // members
        return (
            known
            & (self.roots[ends[:, 0]] == self.roots[ends[:, 1]])
            & (most % fewest == 0)
            & (part[:, 0] == part[:, 1])
        )

    def split_before(self, pairs: Tensor) -> tuple[str, str] | None:
        """A view that split channels which part, and how else it could."""
        roots = self.roots[pairs[pairs < len(self.roots)].numpy()]
        for place, split in self.facts.splits.items():
            mode = self.splits.get(place, 'slots')
            there = self.roots[torch.cat(split).numpy()]
            if mode != 'pin' and np.isin(roots, there).any():
                return place, NEXT_SPLIT[mode]
        return None

    def takes(self) -> list[Take]:
        """What is taken of tensors that are not pinned as a whole."""
        return [
            take
            for take in self.facts.takes
            if bool(self.is_free[take.labels].any())
        ]


def packed(pairs: Tensor) -> np.ndarray:
    """Every pair as one number."""
    return ((pairs[:, 0] << 32) + pairs[:, 1]).numpy()


def unpacked(numbers: np.ndarray) -> Tensor:
    """The pairs, (pairs, 2), that `packed` made numbers of."""
    ends = np.stack((numbers >> 32, numbers & ((1 << 32) - 1)), axis=1)
    return torch.from_numpy(ends)


def sorted_pairs(facts: Facts) -> np.ndarray:
    """All pairs that are tied, each once."""
    pairs = [packed(tie.pairs) for tie in facts.ties]
    return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *pairs]))


def is_among(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which values are in the sorted `known`."""
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    where = np.searchsorted(known, values).clip(max=len(known) - 1)
    return known[where] == values
