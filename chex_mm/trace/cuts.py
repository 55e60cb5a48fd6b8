"""Which cuts put a channel graph to the test.

What survives a random cut by chance proves nothing, so the others aim: at
what the first one left out, at single channels, and at what slices take.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from ..graph.graph import ChannelGraph
from .facts import Take
from .origin import Origin

Masks = dict[str, Tensor]

MILD = 4  # of how many groups one is hardly cut
ROUND = 24, 8, 4, 2


@dataclass(frozen=True, eq=False)
class Aim:
    """One cut of a model.

    Attributes:
        keep: The masks of its free groups.
        is_single: Some group keeps one channel. Torch then lays tensors out,
            and multiplies matrices, in other ways, so that other operators
            alone prove nothing.
        is_at_take: Whether it was drawn for what a slice takes, which
            labels show where numbers may not.
    """

    keep: Masks
    is_single: bool = False
    is_at_take: bool = False

    @property
    def widened(self) -> Aim:
        """The cut with one channel more where there was only one."""
        keep = {name: mask.clone() for name, mask in self.keep.items()}
        for mask in keep.values():
            if int(mask.sum()) == 1 and len(mask) > 2:
                mask[(~mask).nonzero()[0]] = True
        return Aim(keep, False, self.is_at_take)


def random_masks(graph: ChannelGraph, seed: int = 0) -> Masks:
    """Keeps one to two thirds of every free group, at least two if it can.

    Every fourth group keeps nine tenths. At seed 0 groups of the same size
    keep different numbers: that of one must not pass for that of another.
    """
    generator = torch.Generator().manual_seed(seed)
    keep, seen = {}, defaultdict(count)
    for place, (name, group) in enumerate(graph.free.items()):
        least, most = -(-group.size // 3), -(-2 * group.size // 3)
        if place % MILD == MILD - 1:
            least = most = -(-9 * group.size // 10)
        most = min(max(most, 2), group.size - 1)
        least = min(max(least, 2), most)
        rank = next(seen[group.size])
        if seed:
            rank = int(torch.randint(group.size, (), generator=generator))
        number = most - rank % (most - least + 1)
        keep[name] = _some(group.size, number, generator)
    return keep


def aimed_cuts(origin: Origin, first: Masks) -> Iterator[Aim]:
    """The cuts that follow on a first one.

    Args:
        origin: What is cut.
        first: The masks of the first cut.
    """
    sizes = {name: group.size for name, group in origin.graph.free.items()}
    yield _aim({name: _telling(~mask) for name, mask in first.items()})
    for keep in _at_takes(origin):
        yield _aim(keep, is_at_take=True)
    generator = torch.Generator().manual_seed(len(sizes))
    if any(take.is_of_channels for take in origin.takes()):
        # What the code takes by shares (`x[:, : width // 4]`) is nothing.
        few = {n: _some(s, min(2, s - 1), generator) for n, s in sizes.items()}
        yield _aim(few, is_at_take=True)
    yield _aim({n: _some(size, 1, generator) for n, size in sizes.items()})


def _aim(keep: Masks, is_at_take: bool = False) -> Aim:
    is_single = any(int(mask.sum()) == 1 for mask in keep.values())
    return Aim(keep, is_single, is_at_take)


def _some(size: int, number: int, generator: torch.Generator) -> Tensor:
    """A mask that keeps `number` of `size` channels."""
    mask = torch.zeros(size, dtype=torch.bool)
    mask[torch.randperm(size, generator=generator)[:number]] = True
    return mask


def _telling(mask: Tensor) -> Tensor:
    """The mask with some more channels, so that their number tells.

    What code does with round numbers (`if width % 8 == 0`) shows where some
    number is round that was not; single channels show the opposite.
    """
    size, kept = len(mask), int(mask.sum())
    for step in ROUND:
        number = -(-kept // step) * step
        if size % step and number < size:
            rest = (~mask).nonzero()[:, 0]
            mask = mask.clone()
            mask[rest[: number - kept]] = True
            break
    return mask


def _at_takes(origin: Origin) -> list[Masks]:
    """Cuts that keep what slices take, and cuts that keep the rest.

    Slices of different groups share a cut.
    """
    cuts: list[Masks] = []
    known = set()
    for take in origin.takes():
        for keep in _sides(origin, take) if take.is_of_channels else ():
            key = tuple((n, tuple(m.tolist())) for n, m in keep.items())
            if key in known:
                continue
            known.add(key)
            place = next((c for c in cuts if c.keys().isdisjoint(keep)), None)
            if place is None:
                place = {}
                cuts.append(place)
            place.update(keep)
    return cuts


def _sides(origin: Origin, take: Take) -> Iterator[Masks]:
    """For every piece what is in it, and what is not, before and after."""
    places = torch.arange(len(take.labels))
    for piece in take.pieces:
        is_in = torch.isin(places, piece)
        sides = [is_in, ~is_in]
        if len(piece):
            sides += [places < piece.min(), places > piece.max()]
        for side in sides:
            found = origin.masks_of(take.labels[side])
            keep = {
                name: mask
                for name, mask in found.items()
                if mask.any() and not mask.all()
            }
            if keep:
                yield keep
