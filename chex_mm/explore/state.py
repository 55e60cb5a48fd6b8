"""What a saved exploration must agree with before it is loaded.

Tensors and plain Python only, so that `torch.load(weights_only=True)` reads
it; nothing is changed before everything has been checked.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .explorer import ChannelExplorer


def signature(explorer: ChannelExplorer) -> dict[str, dict[str, Any]]:
    """What two explorers must share to exchange states, as plain data."""
    chosen = {
        'total_steps': explorer.total_steps,
        **{f'budget.{k}': v for k, v in asdict(explorer.budget).items()},
        **asdict(explorer.settings),
    }
    return {
        'channel group': {
            name: f'{group.size} channels; '
            + '; '.join(map(str, group.slices))
            for name, group in explorer.groups.items()
        },
        'setting': {key: str(value) for key, value in chosen.items()},
    }


def check_state(state: dict, explorer: ChannelExplorer) -> None:
    """Refuses a state that `explorer` did not save.

    Raises:
        ValueError: Names the first difference.
    """
    missing = {'signature', 'step', 'keep', 'memory'} - set(state)
    if missing:
        raise ValueError(
            'This is not the state of a ChannelExplorer: it lacks '
            f'{", ".join(sorted(missing))}.'
        )
    for what, here in signature(explorer).items():
        _check_same(what, state['signature'].get(what, {}), here)
    _check_same('mask of', _shapes(state['keep']), _shapes(explorer.keep))
    _check_same(
        'memory of',
        _shapes(state['memory']),
        _shapes(explorer.memory.values),
    )


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
