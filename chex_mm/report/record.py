"""What a work directory tells about a run, read and nothing computed.

What is absent is None or empty; only the history must be there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..deploy.slim_directory import WEIGHTS
from ..engine.hooks.history import FILE, masks, read_history
from ..engine.scalars import read_scalars
from ..errors import ChexError

# Of a line of scalars.json, what is no metric.
TIMING = {'iter', 'epoch', 'step', 'time', 'data_time', 'memory', 'lr'}


@dataclass(frozen=True, eq=False)
class RunRecord:
    """Everything that a report is made from.

    Attributes:
        directory: The work directory.
        history: As `History` writes it.
        keep: Masks by group, one mapping per entry of the history.
        metrics: Name to (epochs or iterations, values).
        by_epoch: Whether the metrics are told by epochs.
        checkpoint: The last one, or None.
        slim: What `report.json` of the slim directory says, or None.
        exported: What tools/export.py wrote beside the slim weights, or None.
        config: The text of the run's config, empty if it is not there.
    """

    directory: Path
    history: dict
    keep: tuple[Mapping[str, Tensor], ...]
    metrics: Mapping[str, tuple[list, list]]
    by_epoch: bool
    checkpoint: Path | None
    slim: dict | None
    exported: dict | None
    config: str

    @property
    def is_finished(self) -> bool:
        """Whether the structure is fixed."""
        done = self.history['entries'][-1]['step']
        return done >= len(self.history['schedule'])


def read_run(directory: Path, slim: Path) -> RunRecord:
    """Reads a work directory.

    Args:
        directory: Of a run with CHEXHook.
        slim: What tools/slim.py wrote, if it did.

    Raises:
        ChexError: There is no such run.
    """
    path = directory / FILE
    if not path.is_file():
        raise ChexError(
            f'{directory} holds no {FILE}, so it is not the work directory '
            'of a run with CHEXHook (or the run has not started to train). '
            'Pass the directory that --work-dir named.'
        )
    history = read_history(path)
    lines = _scalars(directory)
    return RunRecord(
        directory=directory,
        history=history,
        keep=tuple(masks(history, entry) for entry in history['entries']),
        metrics=_metrics(lines),
        by_epoch=any('epoch' in line for line in lines),
        checkpoint=_last_checkpoint(directory),
        slim=_json(slim / 'report.json'),
        exported=_json((slim / WEIGHTS).with_suffix('.json')),
        config=_config(directory),
    )


def _scalars(directory: Path) -> list[dict]:
    """All lines of all starts of the run, in the order of time."""
    return [
        line
        for path in sorted(directory.glob('*/vis_data/scalars.json'))
        for line in read_scalars(path)
    ]


def _metrics(lines: list[dict]) -> dict[str, tuple[list, list]]:
    """Curves of all metrics; a resumed run overwrites what it repeats.

    Without epochs mmengine tells all metrics at step 0: they belong to the
    last iteration before them.
    """
    found: dict[str, dict] = {}
    iteration = 0
    for line in lines:
        if 'loss' in line or any(key.startswith('chex/') for key in line):
            iteration = line['step']
            continue
        for key, value in line.items():
            if key not in TIMING and isinstance(value, (int, float)):
                found.setdefault(key, {})[line['step'] or iteration] = value
    return {
        key: tuple(map(list, zip(*sorted(values.items()))))
        for key, values in found.items()
    }


def _last_checkpoint(directory: Path) -> Path | None:
    pointer = directory / 'last_checkpoint'
    if not pointer.is_file():
        return None
    # The directory may have been moved since.
    path = directory / Path(pointer.read_text().strip()).name
    return path if path.is_file() else None


def _json(path: Path) -> dict | None:
    return json.loads(path.read_text()) if path.is_file() else None


def _config(directory: Path) -> str:
    """The config as the Runner wrote it, the latest start first."""
    paths = sorted(directory.glob('*/vis_data/config.py'))
    return paths[-1].read_text() if paths else ''
