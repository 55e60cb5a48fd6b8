"""Which configs of a package stand for its architectures.

Every architecture has one config, whatever it is trained on and however long.
"""

from __future__ import annotations

import json
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


def architectures(
    root: Path, only: Sequence[str] = (), one_per_folder: bool = False
) -> Iterator[str]:
    """Paths of a package's configs, one per architecture.

    Of configs with the same model, schedule and data apart, the first in
    alphabetical order stands for all.

    Args:
        root: The package's config folder.
        only: Leaves out paths that contain none of these.
        one_per_folder: Only the first architecture of each folder.
    """
    seen, folders = set(), set()
    for path in sorted(root.glob('[!_]*/**/*.py')):
        name = path.relative_to(root).as_posix()
        if only and not any(text in name for text in only):
            continue
        if one_per_folder and path.parent in folders:
            continue
        key = _key_of(path)
        if key is not None and key not in seen:
            seen.add(key)
            folders.add(path.parent)
            yield name


def _key_of(path: Path) -> str | None:
    try:
        config = Config.fromfile(path, import_custom_modules=False)
    except Exception:
        return None  # a part of others, or it needs what is not installed
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
