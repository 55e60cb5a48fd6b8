"""A narrow copy's run under the labels of the model it was cut from.

Labels are those of the model, so whatever is right meets as it met there;
every fact that the model did not state is a disagreement, and so is every
one that is missing.

Example: `y` has labels 1 2 3 4 and `z` 5 6 7 8, and the model computes
`y[:, :2] + z[:, 2:]`, which ties 1-7 and 2-8. Cut to 1 3 4 and 5 6 7 the copy
runs `(1 3) + (7)`: 3 meets 7, which no tie of the model says. So that slice is
told by halves (slots, then rows), or the channels are pinned.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ..dispatch.call import Call
from ..dispatch.nested import tensors_in
from .facts import Facts, Space, Take
from .flow import Flow
from .labels import without_repeats
from .origin import (
    Disagreement,
    Finding,
    Origin,
    is_among,
    packed,
    sorted_pairs,
    unpacked,
)
from .trace import named_tensors

RECENT = 64  # calls that gave out channels, to look for what failed
IN_PYTHON = 'a size is written in Python'


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
            new = ~is_among(packed(tie.pairs), self.origin.ties)
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
            self._disagree_on(whole, _leaves_out_alike(whole, take))
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

    def _disagree_on(self, take: Take, leaves_out: bool = False) -> None:
        """Stops the replay because of a slice.

        Args:
            take: What the model takes.
            leaves_out: Whether the code says what it leaves (`x[:, :-1]`)
                rather than what it takes (`x[:, :12]`).
        """
        mode = self.splits.get(take.place, 'free')
        reason = f'{IN_PYTHON}: {take.place} takes others after a cut'
        if mode == 'slots':
            self._disagree(take.labels, reason, (take.place, 'pin'))
        if mode == 'free' and take.parts and len(take.pieces) == 1:
            self._disagree(take.labels, reason, (take.place, 'slots'))
        # What is taken must stay; if it does, what is before it; then all.
        taken = torch.cat(take.pieces)
        if leaves_out:
            is_left = torch.ones(len(take.labels), dtype=torch.bool)
            is_left[taken] = False
            self._disagree(take.labels[is_left], reason)
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
        gone = self.origin.ties[
            ~is_among(self.origin.ties, sorted_pairs(self.facts))
        ]
        pairs = unpacked(gone)
        gone = gone[self._is_cut_here(pairs) & ~self.origin.is_settled(pairs)]
        for tie in self.origin.facts.ties if len(gone) else ():
            if np.isin(packed(tie.pairs), gone).any():
                self._disagree(
                    tie.pairs,
                    f'after a cut channels no longer meet at {tie.place}',
                )

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


def _leaves_out_alike(whole: Take, narrow: Take) -> bool:
    """Whether one piece leaves out as many positions in both."""
    left = [len(t.labels) - len(t.pieces[0]) for t in (whole, narrow)]
    return len(whole.pieces) == 1 and left[0] == left[1]


def _stays(origin: Origin, keep: dict[str, Tensor]) -> Tensor:
    """Per label, whether the narrow copy still has it."""
    stays = torch.ones(origin.facts.size, dtype=torch.bool)
    for name, mask in keep.items():
        for piece in origin.graph.groups[name].slices:
            space = origin.facts.spaces[piece.tensor, piece.dim]
            stays[space.labels[piece.positions(~mask)]] = False
    return stays
