"""A run's report: `report.html` and its pictures, complete or not at all."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from ..cli.progress import stage
from ..files import replacing
from . import headline, sections
from .comparison import compared
from .page import page
from .record import read_run
from .sections import Artist, Request

PAGE = 'report.html'
PICTURES = tuple(
    f'{name}.png'
    for name in (
        'active_channels',
        'budget',
        'changes',
        'fates',
        'scales',
        'cost',
        'compute',
        'metrics',
        'loss',
        'detections',
    )
)


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
        artist = Artist(record, unfinished.parent)
        stage('draw what was explored')
        found = [*sections.explored(artist), *sections.trained(artist)]
        stage('run the dense and the slim model')
        found += compared(artist, slim, request)
        stage(f'write {path}')
        found += sections.made_with(record)
        text = page(*headline.headline(record), found)
        unfinished.write_text(text, encoding='utf-8')
        drawn = {each.name for each in unfinished.parent.iterdir()}
    for name in PICTURES:  # of an earlier report
        if name not in drawn:
            path.with_name(name).unlink(missing_ok=True)
    return path


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
