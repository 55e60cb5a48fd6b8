"""What a saved exploration must agree with before it is loaded.

Tensors and plain Python only, so that `torch.load(weights_only=True)` reads
it; nothing is changed before everything has been checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from ..channels.graph import ChannelGroup
from .budget import Budget
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


def check_state(state: dict, own: dict) -> None:
    """Refuses a state that is not of the same kind as one's own.

    Raises:
        ValueError: Names the first difference.
    """
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


def _shapes(tensors: dict) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


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
