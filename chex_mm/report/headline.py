"""The numbers of a run that a reader wants first."""

from __future__ import annotations

from collections.abc import Iterator

from .compute import running_compute
from .page import Card
from .record import RunRecord
from .sections import main_metrics


def headline(record: RunRecord) -> tuple[str, str, list[Card]]:
    """Title, one sentence, and the numbers that matter."""
    return _title(record), _lead(record), list(_cards(record))


def _title(record: RunRecord) -> str:
    return f'CHEX: {record.directory.resolve().name}'


def _lead(record: RunRecord) -> str:
    history = record.history
    budget, entries = history['budget'], history['entries']
    state = 'fixed' if record.is_finished else 'not fixed yet'
    return (
        f'Explored to {budget["keep"]:.0%} of the {budget["of"]}’s '
        f'{budget["type"]}, {entries[-1]["step"]} of '
        f'{len(history["schedule"])} steps in {history["length"]} '
        f'iterations; the structure is {state}.'
    )


def _cards(record: RunRecord) -> Iterator[Card]:
    history = record.history
    last, dense = history['entries'][-1], history['dense']
    for key, name in (('flops', 'FLOPs'), ('params', 'parameters')):
        unit, letter = (1e9, 'G') if key == 'flops' else (1e6, 'M')
        yield Card(
            f'{last[key] / dense[key]:.1%}',
            f'{name}: {last[key] / unit:.3g} of {dense[key] / unit:.3g} '
            f'{letter}',
        )
    active = sum(int(mask.sum()) for mask in record.keep[-1].values())
    total = sum(history['groups'].values())
    yield Card(f'{active / total:.1%}', f'channels: {active} of {total}')
    spent = running_compute(history)[1][-1]
    yield Card(f'{spent:.1%}', 'of the compute of dense training (sub-models)')
    for name in main_metrics(record)[:1]:
        value = record.metrics[name][1][-1]
        yield Card(f'{value:.3f}', f'{name}, last validation')
    if record.slim:
        yield Card(
            f'{record.slim["max_abs_diff"]:.0e}',
            'largest difference of masked and slim outputs',
        )
