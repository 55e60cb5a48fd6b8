"""The numbers that mmengine writes down in training, line by line.

A run that is killed may leave half a line, which is no number.
"""

from __future__ import annotations

import json
from pathlib import Path


def read_scalars(path: Path) -> list[dict]:
    """All whole lines of a `vis_data/scalars.json`."""
    found = map(_line, path.read_text(errors='replace').splitlines())
    return [line for line in found if line]


def _line(text: str) -> dict:
    """What a line says; nothing, if it is none."""
    try:
        said = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) and 'step' in said else {}
