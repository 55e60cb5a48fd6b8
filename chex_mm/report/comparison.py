"""The dense and the slim model of a run beside each other, on the page.

What was exported from the slim model is told as the export measured it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch

from ..deploy.slim_directory import WEIGHTS
from .page import Section, Table
from .pair import LEAST, Pair, latencies, load_pair, side_by_side
from .sections import Artist, Request


def compared(
    artist: Artist, slim: Path, request: Request
) -> Iterator[Section]:
    """How fast both models are and what they find."""
    record = artist.record
    if not (slim / WEIGHTS).is_file() or not record.checkpoint:
        yield Section(
            'Dense and slim',
            'There is no slim model yet. Write it with: python tools/slim.py '
            f'CONFIG CHECKPOINT --out {slim}, then call tools/report.py '
            'again: it shows how fast both are and what they find.',
        )
        return
    yield from _exported(slim)
    if not request.samples:
        return
    pair = load_pair(record, slim, request.dense, request.samples)
    yield _latency_section(pair)
    picture = artist.save(side_by_side(pair), 'detections')
    yield Section(
        'Detections',
        f'Left: {pair.name}. Right: the slim model. Boxes above a score of '
        f'{LEAST}.'
        if picture
        else 'Only boxes are drawn, and this model finds none.',
        picture,
    )


def _latency_section(pair: Pair) -> Section:
    threads = torch.get_num_threads()
    rows = [
        (
            f'{size}',
            f'{found["dense"]:.1f}',
            f'{found["slim"]:.1f}',
            f'{found["dense"] / found["slim"]:.2f} x',
        )
        for size, found in latencies(pair).items()
    ]
    return Section(
        'Latency',
        'Median milliseconds of a whole test step, preprocessing included, '
        f'the models in turn; CPU, {threads} thread'
        f'{"s" if threads > 1 else ""}.',
        table=Table(('batch', 'dense', 'slim', 'faster'), rows),
    )


def _exported(slim: Path) -> Iterator[Section]:
    """What tools/export.py measured, if its files are beside the weights."""
    path = (slim / WEIGHTS).with_suffix('.json')
    if not path.is_file():
        return
    report = json.loads(path.read_text())
    apart = max(file['max_rel_diff'] for file in report['files'].values())
    found = report.get('latency_ms', {})
    names = sorted(next(iter(found.values()), ()))
    rows = [
        (name, *(f'{times[name]:.1f}' for times in found.values()))
        for name in names
    ]
    first = next(iter(report['files'].values()))
    taken = ' x '.join(map(str, first['input']))
    batches = [f'batch {size}, ms' for size in found]
    yield Section(
        'Exported',
        f'{", ".join(report["files"])} ({report["format"]}): the outputs '
        f'differ from PyTorch\u2019s by {apart:.0e} at most, relative to the '
        'largest. Times as the export measured them, of these parts alone and '
        f'for an input of {taken}.',
        table=Table(('', *batches), rows) if rows else None,
    )
