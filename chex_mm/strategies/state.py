"""What a saved exploration must agree with before it is loaded.

Tensors and plain Python only, so that `torch.load(weights_only=True)` reads
it; nothing is changed before everything has been checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from ..budget.budgets import Budget
from ..graph.groups import ChannelGroup
from .settings import ExplorerSettings


def signature(
    groups: Mapping[str, ChannelGroup],
    budget: Budget,
    total_steps: int,
    settings: ExplorerSettings,
) -> dict[str, dict[str, str]]:
    """What two explorers must share to exchange states, as plain data.

    How a sub-model is held does not matter: states are dense.
    """
    own = asdict(settings)
    del own['execution']
    chosen = {
        'total_steps': total_steps,
        **{f'budget.{k}': v for k, v in asdict(budget).items()},
        **own,
    }
    return {
        'channel group': {
            name: f'{group.size} channels; '
            + '; '.join(map(str, group.slices))
            for name, group in groups.items()
        },
        'setting': {key: str(value) for key, value in chosen.items()},
    }


def check_state(
    state: dict, own: dict, groups: Mapping[str, ChannelGroup]
) -> None:
    """Refuses a state that is not of the same kind as one's own.

    Raises:
        ValueError: Names the first difference.
    """
    if not isinstance(state, Mapping):
        raise ValueError(
            f'A {type(state).__name__} is not the state of a ChannelExplorer.'
        )
    missing = {'signature', 'step', 'keep', 'memory'} - set(state)
    if missing:
        raise ValueError(
            'This is not the state of a ChannelExplorer: it lacks '
            f'{", ".join(sorted(missing))}.'
        )
    for what, here in own['signature'].items():
        _check_same(what, state['signature'].get(what, {}), here)
    for what in ('keep', 'memory'):
        _check_same(f'{what} of', _shapes(state[what]), _shapes(own[what]))
    check_masks(state['keep'], groups)


def check_masks(keep: Mapping, groups: Mapping[str, ChannelGroup]) -> None:
    """Refuses what are not the masks of channel groups.

    Raises:
        ValueError: Names the first one that is wrong.
    """
    sizes = {n: (groups[n].size,) if n in groups else 'absent' for n in keep}
    _check_same('keep of', _shapes(keep), sizes)
    for name, mask in keep.items():
        if mask.dtype != torch.bool:
            raise ValueError(
                f'The exploration state is damaged: keep of {name!r} is of '
                f'type {mask.dtype}, not torch.bool. Take an older checkpoint.'
            )


def _shapes(tensors: Mapping) -> dict[str, tuple[int, ...] | str]:
    return {
        name: tuple(each.shape)
        if isinstance(each, Tensor)
        else f'a {type(each).__name__}'
        for name, each in tensors.items()
    }


def _check_same(what: str, saved: dict, here: dict) -> None:
    for name in {**here, **saved}:
        there = saved.get(name, 'absent')
        if there != here.get(name, 'absent'):
            raise ValueError(
                'The exploration state is of another model or run: '
                f'{what} {name!r} is {there!r} in the state, but '
                f'{here.get(name, "absent")!r} here. Load it into the model '
                'and the settings that it was saved from.'
            )
