"""A run's report: `report.html` and its pictures, complete or not at all.

The page holds its pictures and needs no other file.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from ..cli.progress import stage
from ..deploy.slim_directory import WEIGHTS
from ..files import replacing
from . import figures, numbers
from .pair import Pair, load_pair, step_times
from .record import RunRecord, read_run

PAGE = 'report.html'
PICTURES = ('active_channels', 'fates', 'budget', 'latency', 'detections')
SAMPLES = 3


@dataclass(frozen=True)
class Request:
    """What a report is about, beside the run itself.

    Attributes:
        slim: What tools/slim.py wrote; default: `slim` in the run's
            directory.
        dense: A checkpoint of the same model trained without exploration,
            to be compared with the slim one.
        samples: Test samples to draw; 0 runs no model at all.
    """

    slim: Path | None = None
    dense: Path | None = None
    samples: int = SAMPLES


def write_report(
    directory: str | Path,
    request: Request | None = None,
    out: Path | None = None,
) -> Path:
    """Writes the report of a run and returns its page.

    Args:
        directory: The work directory.
        request: What else to show.
        out: A folder; default: `report` in the work directory.

    Raises:
        ChexError: There is nothing to report on.
    """
    directory, request = Path(directory), request or Request()
    slim = request.slim or directory / 'slim'
    stage('read the run')
    record = read_run(directory, slim)
    path = (out or directory / 'report') / PAGE
    with replacing(path) as unfinished:
        stage('draw what was explored')
        drawn = _explored(record)
        stage('run the dense and the slim model')
        pair = _pair(record, slim, request)
        times = step_times(pair) if pair else {}
        if pair:
            drawn['latency'] = figures.latencies(times)
            drawn['detections'] = figures.detections(pair)
        stage(f'write {path}')
        pictures = _save(drawn, unfinished.parent)
        text = page(record, pictures, slim=slim, pair=pair, times=times)
        unfinished.write_text(text, encoding='utf-8')
    for name in PICTURES:  # of an earlier report
        if name not in pictures:
            path.with_name(f'{name}.png').unlink(missing_ok=True)
    return path


def _explored(record: RunRecord) -> dict[str, Figure | None]:
    drawn = dict(
        active_channels=figures.active_channels(record),
        budget=figures.cost_and_budget(record),
    )
    if len(record.keep) > 1:
        drawn['fates'] = figures.channel_fates(record)
    return drawn


def _pair(record: RunRecord, slim: Path, request: Request) -> Pair | None:
    """Both models, if they are to run and are there."""
    if not request.samples or not (slim / WEIGHTS).is_file():
        return None
    if not (request.dense or record.checkpoint):
        return None
    return load_pair(record, slim, request.dense, request.samples)


def _save(drawn: Mapping[str, Figure | None], folder: Path) -> dict[str, str]:
    """Writes the pictures there are; gives each in base64, by name."""
    pictures = {}
    for name, figure in drawn.items():
        if figure is not None:
            path = folder / f'{name}.png'
            figure.savefig(path, dpi=200)
            pictures[name] = base64.b64encode(path.read_bytes()).decode()
    return pictures


def page(
    record: RunRecord,
    pictures: Mapping[str, str],
    slim: Path,
    pair: Pair | None = None,
    times: Mapping[int, Mapping[str, float]] | None = None,
) -> str:
    """The whole page, whatever characters the names in it have.

    Args:
        record: Of the run.
        pictures: In base64, by name.
        slim: What tools/slim.py wrote, or is to write.
        pair: The models that were compared.
        times: Milliseconds of both, by batch size.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template('page.html').render(
        record=record,
        numbers=numbers,
        pictures=pictures,
        slim=slim,
        has_slim=(slim / WEIGHTS).is_file(),
        pair=pair,
        times=times,
        least=figures.LEAST,
        threads=torch.get_num_threads(),
    )


def report_at_end(runner: Runner) -> None:
    """Writes the report of a run that ends, without running a model.

    A run must not be lost for a picture: what goes wrong is logged.
    """
    if not is_main_process():
        return
    try:
        path = write_report(runner.work_dir, Request(samples=0))
        runner.logger.info(f'CHEX report: {path}')
    except Exception as error:
        runner.logger.error(
            f'CHEX: the report cannot be written: {type(error).__name__}: '
            f'{error}. python tools/report.py {runner.work_dir} --debug '
            'shows where.'
        )
