"""What a work directory tells about a run, read and nothing computed.

What is absent is None or empty; only the history must be there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..engine.explored_checkpoint import read_checkpoint
from ..engine.hooks.history import FILE, active_scales, masks, read_history
from ..engine.scalars import read_scalars
from ..errors import ChexError
from ..graph.state import graph_from_state

# Of a line of scalars.json, what is no metric and no loss.
TIMING = {'iter', 'epoch', 'step', 'time', 'data_time', 'memory', 'lr'}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The last checkpoint of the run.

    Attributes:
        path: Of the file.
        scales: |scale| of active channels by group, at the end of the run.
        iteration: When it was written.
    """

    path: Path
    scales: Mapping[str, Tensor]
    iteration: int


@dataclass(frozen=True, eq=False)
class RunRecord:
    """Everything that a report is made from.

    Attributes:
        directory: The work directory.
        history: As `History` writes it.
        keep: Masks by group, one mapping per entry of the history.
        losses: Name to (iterations, values).
        metrics: Name to (epochs or iterations, values).
        by_epoch: Whether the metrics are told by epochs.
        checkpoint: The last one, if it is there.
        slim: What `report.json` of the slim directory says, or None.
        config: The text of the run's config, empty if it is not there.
    """

    directory: Path
    history: dict
    keep: tuple[Mapping[str, Tensor], ...]
    losses: Mapping[str, tuple[list, list]]
    metrics: Mapping[str, tuple[list, list]]
    by_epoch: bool
    checkpoint: Checkpoint | None
    slim: dict | None
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
    losses, metrics = _curves(lines)
    report = slim / 'report.json'
    return RunRecord(
        directory=directory,
        history=history,
        keep=tuple(masks(history, entry) for entry in history['entries']),
        losses=losses,
        metrics=metrics,
        by_epoch=any('epoch' in line for line in lines),
        checkpoint=_last_checkpoint(directory),
        slim=json.loads(report.read_text()) if report.is_file() else None,
        config=_config(directory),
    )


def _scalars(directory: Path) -> list[dict]:
    """All lines of all starts of the run, in the order of time."""
    return [
        line
        for path in sorted(directory.glob('*/vis_data/scalars.json'))
        for line in read_scalars(path)
    ]


def _curves(lines: list[dict]) -> tuple[dict, dict]:
    """Losses and metrics; a resumed run overwrites what it repeats.

    Without epochs mmengine tells all metrics at step 0: they belong to the
    last iteration before them.
    """
    losses: dict[str, dict] = {}
    metrics: dict[str, dict] = {}
    iteration = 0
    for line in lines:
        is_training = 'loss' in line
        if is_training or any(key.startswith('chex/') for key in line):
            iteration = line['step']
        curves = losses if is_training else metrics
        for key, value in _measured(line).items():
            at = line['step'] or iteration
            curves.setdefault(key, {})[at] = value
    return _sorted(losses), _sorted(metrics)


def _measured(line: dict) -> dict[str, float]:
    """What is neither time nor exploration."""
    return {
        key: value
        for key, value in line.items()
        if key not in TIMING
        and not key.startswith('chex/')
        and isinstance(value, (int, float))
    }


def _sorted(curves: dict[str, dict]) -> dict[str, tuple[list, list]]:
    return {
        key: tuple(map(list, zip(*sorted(values.items()))))
        for key, values in curves.items()
    }


def _last_checkpoint(directory: Path) -> Checkpoint | None:
    pointer = directory / 'last_checkpoint'
    if not pointer.is_file():
        return None
    # The directory may have been moved since.
    path = directory / Path(pointer.read_text().strip()).name
    if not path.is_file():
        return None
    loaded = read_checkpoint(str(path))
    explorer = loaded['chex']['explorer']
    return Checkpoint(
        path=path,
        scales=active_scales(
            graph_from_state(loaded['chex']['graph']),
            explorer['memory'],
            explorer['keep'],
        ),
        iteration=loaded['meta']['iter'],
    )


def _config(directory: Path) -> str:
    """The config as the Runner wrote it, the latest start first."""
    paths = sorted(directory.glob('*/vis_data/config.py'))
    return paths[-1].read_text() if paths else ''
