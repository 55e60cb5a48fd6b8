"""Which configs of a package stand for its architectures.

Every architecture has one config, whatever it is trained on and however long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

# What does not change the architecture; see `architecture_key`.
NOT_ARCHITECTURE = {
    'init_cfg',
    'pretrained',
    'train_cfg',
    'test_cfg',
    'data_preprocessor',
    'num_classes',
}
# How packages' own configs fail to be read: they need what is not installed,
# inherit from a file or a key that is not there, or mix two kinds of config.
UNREADABLE = (ImportError, OSError, KeyError, RuntimeError)


def architectures(
    root: Path, only: Sequence[str] = (), one_per_folder: bool = False
) -> Iterator[str]:
    """Paths of a package's configs, one per architecture.

    Of configs with the same model, schedule and data apart, the first stands
    for all; `r50` comes before `r101`.

    Args:
        root: The package's config folder.
        only: Leaves out paths that contain none of these, and gives the
            order.
        one_per_folder: Only the first architecture of each folder.
    """
    seen, folders = set(), set()
    for name in _in_order(root, only):
        path = root / name
        if one_per_folder and path.parent in folders:
            continue
        key = _key_of(path)
        if key is not None and key not in seen:
            seen.add(key)
            folders.add(path.parent)
            yield name


def _in_order(root: Path, only: Sequence[str]) -> list[str]:
    paths = root.glob('[!_]*/**/*.py')
    names = [path.relative_to(root).as_posix() for path in paths]
    wanted = only or ('',)
    ranked = [
        (next((i for i, t in enumerate(wanted) if t in name), None), name)
        for name in names
    ]
    return [
        name
        for _, name in sorted(
            (pair for pair in ranked if pair[0] is not None),
            key=lambda pair: (pair[0], _natural(pair[1])),
        )
    ]


def _natural(name: str) -> list:
    """A key that sorts numbers in names as numbers."""
    return [
        (int(part), '') if part.isdigit() else (0, part)
        for part in re.split(r'(\d+)', name)
    ]


def _key_of(path: Path) -> str | None:
    try:
        config = Config.fromfile(path, import_custom_modules=False)
    except UNREADABLE:
        return None
    return architecture_key(config.model) if 'model' in config else None


def architecture_key(model: dict) -> str:
    """The same for models that differ in weights or training only."""

    def strip(value):
        if isinstance(value, Mapping):
            return {
                key: strip(part)
                for key, part in value.items()
                if key not in NOT_ARCHITECTURE
            }
        if isinstance(value, (list, tuple)):
            return [strip(part) for part in value]
        return value if isinstance(value, (int, float, str)) else str(value)

    return json.dumps(strip(model), sort_keys=True)
