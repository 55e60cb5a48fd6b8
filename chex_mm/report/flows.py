"""What became of every channel in a run, told from its masks alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# What can become of a channel, from the best to the worst.
FATES = (
    'always active',
    'came back and stayed',
    'came back and left again',
    'left for good',
    'never active',
)


@dataclass(frozen=True)
class Changes:
    """What one step did, in channels.

    Attributes:
        added: Active now, and not before.
        removed: The other way round.
    """

    added: int
    removed: int


def fates(history: Sequence[Mapping[str, Tensor]]) -> dict[str, list[int]]:
    """Channels of each fate in `FATES`, by group.

    A channel comes back when it is active after a step that found it
    inactive, also if it was never active before.

    Args:
        history: Masks by group, in the order of the steps.
    """
    return {
        name: _fates(torch.stack([masks[name] for masks in history]))
        for name in history[0]
    }


def changes(history: Sequence[Mapping[str, Tensor]]) -> list[Changes]:
    """What every step did; one less than there are masks."""
    whole = [torch.cat(list(masks.values())) for masks in history]
    return [
        Changes(int((new & ~old).sum()), int((old & ~new).sum()))
        for old, new in zip(whole, whole[1:])
    ]


def _fates(active: Tensor) -> list[int]:
    """Counts in the order of `FATES`; `active` is (steps, channels)."""
    last, ever = active[-1], active.any(0)
    came_back = (active[1:] & ~active[:-1]).any(0)
    found = (
        active.all(0),
        last & came_back,
        ~last & came_back,
        ~last & ever & ~came_back,
        ~ever,
    )
    return [int(each.sum()) for each in found]
