"""How much each channel counts when the budget is shared out over groups.

Scores of different groups are on one scale; inactive channels score 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..graph.groups import ChannelGroup, Role
from ..registry import Table
from ..submodel.weights import channel_norms, channel_weights

Groups = Mapping[str, ChannelGroup]
Tensors = Mapping[str, Tensor]

# Each function returns a float64 vector per group from the model's tensors,
# the explored groups and the masks of what is active.
SCORES = Table('score')


def score(key: str) -> Callable:
    """Registers an allocation score under the name that settings use."""
    return SCORES.register(key)


def channel_scores(
    key: str, tensors: Tensors, groups: Groups, keep: Tensors
) -> dict[str, Tensor]:
    """The score `key` of every channel; 0 where it is inactive."""
    scores = SCORES.look_up(key)(tensors, groups, keep)
    return {
        name: torch.where(keep[name], values, 0.0)
        for name, values in scores.items()
    }


@score('scale')
def scale(
    tensors: Tensors, groups: Groups, keep: Tensors
) -> dict[str, Tensor]:
    """The largest |gamma| of a channel; without a norm, a virtual one.

    The largest, not the mean: the last norm of a residual block often
    starts at 0, and a mean would prune every residual stream at once.
    """
    return _from_norms(lambda each: each.amax(0), tensors, groups, keep)


@score('mean_scale')
def mean_scale(
    tensors: Tensors, groups: Groups, keep: Tensors
) -> dict[str, Tensor]:
    """The mean |gamma| over the norms of a channel.

    A stream of many norms gains nothing by their number, as it does with
    the largest: docs/results.md has what that costs at a quarter of the
    FLOPs. Only for models whose norms all start alike.
    """
    return _from_norms(lambda each: each.mean(0), tensors, groups, keep)


def _from_norms(
    join: Callable[[Tensor], Tensor],
    tensors: Tensors,
    groups: Groups,
    keep: Tensors,
) -> dict[str, Tensor]:
    scores = {
        name: join(_scales(tensors, group))
        for name, group in groups.items()
        if group.with_role(Role.SCALE)
    }
    active = [values[keep[name]] for name, values in scores.items()]
    level = torch.cat(active).mean() if active else 1.0
    for name in groups.keys() - scores.keys():
        norms = channel_norms(tensors, groups[name])
        scores[name] = level * _relative(norms, keep[name])
    return {name: scores[name] for name in groups}


def _scales(tensors: Tensors, group: ChannelGroup) -> Tensor:
    """|gamma| of every norm, (norms, channels); mean over members."""
    return torch.stack(
        [
            channel_weights(tensors[piece.tensor], piece)
            .double()
            .abs()
            .mean((1, 2))
            .cpu()
            for piece in group.with_role(Role.SCALE)
        ]
    )


def _relative(norms: Tensor, keep: Tensor) -> Tensor:
    rms = norms[keep].square().mean().sqrt()
    return norms / rms if rms > 0 else torch.ones_like(norms)
