"""Written data sets say what they were made from.

A directory is complete or does not exist: it is filled under a temporary
name and renamed at the end, its recipe inside.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_once(
    directory: str | Path, recipe: dict, fill: Callable[[Path], None]
) -> Path:
    """Makes a directory that `fill` writes into, unless it is there.

    Args:
        directory: Where to; a set of the same recipe is left as it is.
        recipe: What decides every byte, as JSON can hold it.
        fill: Called with an empty directory.

    Returns:
        `directory`, finished.

    Raises:
        ValueError: `directory` exists and holds something else.
    """
    directory = Path(directory)
    if directory.exists():
        _check(directory, recipe)
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f'.{directory.name}-', dir=directory.parent
    ) as unfinished:
        root = Path(unfinished, directory.name)
        root.mkdir()
        fill(root)
        (root / 'recipe.json').write_text(json.dumps(recipe))
        root.rename(directory)
    return directory


def _check(directory: Path, recipe: dict) -> None:
    path = directory / 'recipe.json'
    found = json.loads(path.read_text()) if path.is_file() else 'no recipe'
    if found != recipe:
        raise ValueError(
            f'{directory} holds {found}, not what was asked for, {recipe}. '
            'Remove it or name another directory.'
        )
