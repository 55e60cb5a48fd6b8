"""A narrow copy's run under the labels of the model it was cut from.

Labels are those of the model, so whatever is right meets as it met there;
every fact that the model did not state is a disagreement, and so is every
one that is missing.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from chex_mm.channels.call import Call
from chex_mm.channels.facts import (
    Components,
    Facts,
    Numbers,
    Space,
    Take,
    Tie,
)
from chex_mm.channels.flow import Flow
from chex_mm.channels.graph import ChannelGraph
from chex_mm.channels.labels import without_repeats
from chex_mm.channels.trace import named_tensors, tensors_in

NEXT_SPLIT = {'slots': 'rows', 'rows': 'pin'}
RECENT = 64  # calls that gave out channels, to look for what failed
NUMBERS_APART = 1e-3  # rounding; a cut takes a third of the channels
IN_PYTHON = 'a size is written in Python'
NO_PAIRS = torch.zeros((0, 2), dtype=torch.long)


@dataclass(frozen=True, eq=False)
class Finding:
    """Why a narrow copy is not the model it was cut from.

    Attributes:
        labels: What must not be cut.
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
        self, graph: ChannelGraph, facts: Facts, splits: dict[str, str]
    ):
        self.graph = graph
        self.facts = facts
        self.splits = splits
        components = Components(facts)
        self.roots = components.roots
        free = ~components.is_pinned[components.roots]
        self.is_free = torch.from_numpy(free)
        self.ties = _sorted_pairs(facts)
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

    def whole_groups(self, labels: Tensor) -> Tensor:
        """Labels of every channel of the groups that hold any of `labels`."""
        roots = np.unique(self.roots[labels.numpy()])
        found = [labels]
        for group in self.graph.free.values():
            piece = group.slices[0]
            space = self.facts.spaces[piece.tensor, piece.dim]
            members = space.labels[piece.index[:, 0]]
            if np.isin(self.roots[members.numpy()], roots).any():
                found.append(members)
        return torch.cat(found)

    def is_settled(self, pairs: Tensor) -> np.ndarray:
        """Per pair, whether both are one channel and the same part of it.

        Which branch a model takes may depend on its data (an FPN level
        without regions), so such pairs may meet in one run and not in
        another; `check_branches` tells that from a wrong cut. Where both
        tensors hold the channel several times (a GroupNorm group), the
        first must meet the first, the second the second.
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


class NarrowFlow(Flow):
    """A flow in which every new fact is a disagreement.

    Labels are those of the origin, so whatever is right meets as it met
    there; pinned ones are 0.
    """

    def __init__(self, model: nn.Module, rules, origin: Origin, keep):
        self.origin = origin
        self._stays = _stays(origin, keep)
        self._takes = origin.takes()
        self.recent: deque[Call] = deque(maxlen=RECENT)
        super().__init__(
            named_tensors(model), self._kept(), rules, origin.splits
        )

    def _kept(self) -> Facts:
        """The labels that the narrow copy has."""
        kept = Facts(size=self.origin.facts.size)
        for place, space in self.origin.facts.spaces.items():
            labels = torch.where(
                self.origin.is_free[space.labels], space.labels, 0
            )[self._stays[space.labels]]
            kept.spaces[place] = Space(*place, space.role, labels)
        return kept

    def flow(self, call, out) -> None:
        super().flow(call, out)
        call = replace(call, out=out)
        if any(map(self.has_channels, tensors_in(out))):
            self.recent.append(call)

    def tie(self, a: Tensor, b: Tensor) -> None:
        known = len(self.facts.ties)
        super().tie(a, b)
        for tie in self.facts.ties[known:]:
            new = ~_is_among(_packed(tie.pairs), self.origin.ties)
            if new.any():
                pairs = tie.pairs[torch.from_numpy(new)]
                settled = torch.from_numpy(self.origin.is_settled(pairs))
                self._disagree(
                    pairs[~settled],
                    f'after a cut other channels meet at {self.place}',
                    self.origin.split_before(pairs),
                )

    def pin(self, labels: Tensor, reason: str) -> None:
        self._disagree(labels, f'after a cut {reason}')

    def take(self, take: Take) -> Take:
        whole = next((t for t in self._takes if t.place == take.place), None)
        if whole is None:
            self._disagree(
                take.labels, f'after a cut {take.place} runs more often'
            )
            return take
        self._takes.remove(whole)
        if whole.is_of_channels and not self._is_same(whole, take):
            self._disagree_on(whole)
        return whole

    def find_cause(self, found: Finding) -> Finding:
        """A slice that was left out because it would have taken all.

        Torch does that for `x[:, :12]` if there are at most 12 channels.
        """
        if found.split is None:
            for take in self._takes:
                if (
                    take.is_of_channels
                    and torch.isin(take.labels, found.labels).any()
                ):
                    try:
                        self._disagree_on(take)
                    except Disagreement as disagreement:
                        return disagreement.finding
        return found

    def _disagree_on(self, take: Take) -> None:
        mode = self.splits.get(take.place, 'free')
        reason = f'{IN_PYTHON}: {take.place} takes others after a cut'
        if mode == 'slots':
            self._disagree(take.labels, reason, (take.place, 'pin'))
        if mode == 'free' and take.parts and len(take.pieces) == 1:
            self._disagree(take.labels, reason, (take.place, 'slots'))
        # What is taken must stay; if it does, what is before it; then all.
        taken = torch.cat(take.pieces)
        self._disagree(take.labels[taken], reason)
        self._disagree(take.labels[: taken.max() + 1], reason)
        self._disagree(take.labels, reason)

    def _is_same(self, whole: Take, narrow: Take) -> bool:
        stays = self._stays[whole.labels].any(1)
        moved = stays.cumsum(0) - 1
        return len(whole.pieces) == len(narrow.pieces) and all(
            torch.equal(moved[one[stays[one]]], other)
            for one, other in zip(whole.pieces, narrow.pieces)
        )

    def check_ties(self) -> None:
        """Channels that met in the model have met in its narrow copy."""
        met = _sorted_pairs(self.facts)
        for tie in self.origin.facts.ties:
            here = self._is_cut_here(tie.pairs)
            gone = here & ~_is_among(_packed(tie.pairs), met)
            if (gone & ~self.origin.is_settled(tie.pairs)).any():
                self._disagree(
                    tie.pairs,
                    f'after a cut channels no longer meet at {tie.place}',
                )

    @property
    def ran_alike(self) -> bool:
        """Whether channels met as often as they did in the model."""
        here = self._met(self.facts.ties)
        there = self._met(self.origin.facts.ties)
        # Mostly in the same order too, which needs no sorting.
        return np.array_equal(here, there) or np.array_equal(
            np.sort(here), np.sort(there)
        )

    def check_branches(self, masked: Facts) -> None:
        """The masked model, on the same numbers, runs the same operators.

        Args:
            masked: What a trace of the model under the same masks found.
        """
        spaces = self.origin.facts.spaces
        ours = torch.zeros(masked.size, dtype=torch.long)
        for place, space in masked.spaces.items():
            if place in spaces:
                ours[space.labels] = spaces[place].labels
        expected = self._met([Tie(ours[t.pairs], '') for t in masked.ties])
        found = self._met(self.facts.ties)
        pairs, where = np.unique(
            np.concatenate((expected, found)), return_inverse=True
        )
        ahead = np.bincount(where[: len(expected)], minlength=len(pairs))
        behind = np.bincount(where[len(expected) :], minlength=len(pairs))
        other = torch.from_numpy(pairs[ahead != behind])
        self._disagree(
            torch.cat((other >> 32, other & ((1 << 32) - 1))),
            'a size is compared in Python: after a cut other operators run',
        )

    def check_numbers(self, masked: Facts) -> None:
        """The masked model computes with the same numbers.

        Args:
            masked: As for `check_branches`.
        """
        for found in self.new_numbers(masked):
            for labels in found.labels:
                self._disagree(
                    labels,
                    f'{found.place} computes with another number after a cut',
                )

    def new_numbers(self, other: Facts) -> list[Numbers]:
        """Numbers that were not among those of another run."""
        known = _numbers_by_place(other)
        return [n for n in self.facts.numbers if not _is_known(n, known)]

    def _met(self, ties: list[Tie]) -> np.ndarray:
        """All pairs that have met and that are here."""
        pairs = torch.cat([t.pairs for t in ties] or [NO_PAIRS])
        return _packed(pairs[self._is_cut_here(pairs)])

    def _is_cut_here(self, pairs: Tensor) -> np.ndarray:
        """Per pair, whether both are here and may be cut."""
        known = (pairs < len(self._stays)).all(1)
        here = (self._stays & self.origin.is_free)[pairs * known[:, None]]
        return (here.all(1) & known).numpy()

    def _disagree(
        self,
        labels: Tensor,
        reason: str,
        split: tuple[str, str] | None = None,
    ) -> None:
        """Stops the replay if any of the labels may be cut."""
        labels = without_repeats(labels).flatten()
        # Labels first met in the replay belong to nothing that was cut.
        labels = torch.unique(labels[labels < len(self.origin.is_free)])
        labels = labels[self.origin.is_free[labels]]
        if len(labels):
            raise Disagreement(Finding(labels, reason, split))


def _stays(origin: Origin, keep: dict[str, Tensor]) -> Tensor:
    """Per label, whether the narrow copy still has it."""
    stays = torch.ones(origin.facts.size, dtype=torch.bool)
    for name, mask in keep.items():
        for piece in origin.graph.groups[name].slices:
            space = origin.facts.spaces[piece.tensor, piece.dim]
            stays[space.labels[piece.positions(~mask)]] = False
    return stays


def _numbers_by_place(facts: Facts) -> dict[str, set[tuple[float, ...]]]:
    known: dict[str, set[tuple[float, ...]]] = {}
    for numbers in facts.numbers:
        known.setdefault(numbers.place, set()).add(numbers.values)
    return known


def _is_known(found: Numbers, known: dict[str, set]) -> bool:
    """Whether the same operator had the same numbers, up to rounding."""
    return any(
        len(values) == len(found.values)
        and all(
            math.isclose(a, b, rel_tol=NUMBERS_APART)
            for a, b in zip(values, found.values)
        )
        for values in known.get(found.place, ())
    )


def _packed(pairs: Tensor) -> np.ndarray:
    """Every pair as one number."""
    return ((pairs[:, 0] << 32) + pairs[:, 1]).numpy()


def _sorted_pairs(facts: Facts) -> np.ndarray:
    """All pairs that are tied, each once."""
    pairs = [_packed(tie.pairs) for tie in facts.ties]
    return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *pairs]))


def _is_among(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which values are in the sorted `known`."""
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    where = np.searchsorted(known, values).clip(max=len(known) - 1)
    return known[where] == values
