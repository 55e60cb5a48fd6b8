"""Verdicts on a model zoo as a Markdown page."""

from __future__ import annotations

import time
from collections import Counter

from .zoo import MOST_APART, Verdict

HEAD = (
    '| config | status | groups | prunable | FLOPs left | difference '
    '| trace, s | all, s | GB |\n'
    '|---|---|---|---|---|---|---|---|---|'
)

MEANING = (
    'Exact: masked and narrow outputs, at random masks and at masks of '
    'the largest weights, and those of the model that was saved and '
    f'loaded, differ by at most {MOST_APART:.0e} of the largest output, '
    'and a training step of the narrow model reaches every parameter '
    'that it reaches in the dense one. Prunable: share of the '
    'multiply-adds in layers of which rows or columns may be cut.'
)


def table_text(verdicts: list[Verdict], versions: list[str]) -> str:
    """The page: what was done, the table, and why some are not exact."""
    counts = Counter(verdict.status for verdict in verdicts)
    summary = ', '.join(f'{n} {status}' for status, n in counts.most_common())
    lines = [
        f'# Model zoo of {versions[-1]}',
        '',
        f'{len(verdicts)} architectures: {summary}. Written by '
        f'`tools/zoo.py` on {time.strftime("%Y-%m-%d")} with '
        f'{", ".join(versions)}, on a CPU.',
        '',
        MEANING,
        '',
        HEAD,
        *(_row(verdict) for verdict in verdicts),
        '',
        '## Not exact, or not trained, and why',
        '',
        *(
            f'- `{verdict.name}`: {verdict.reason}'
            for verdict in verdicts
            if verdict.reason
        ),
        '',
        '## Operators without a rule',
        '',
        *_unknown(verdicts),
        '',
        '## What is pinned in layers that cannot be cut at all',
        '',
        *_pinned(verdicts),
    ]
    return '\n'.join(lines) + '\n'


def _pinned(verdicts: list[Verdict]) -> list[str]:
    return [
        f'- `{verdict.name}`: {reason} ({share:.1%})'
        for verdict in verdicts
        for reason, share in verdict.pinned.items()
        if share >= 0.005
    ]


def _row(verdict: Verdict) -> str:
    worst = max(verdict.differences.values(), default=None)
    cells = [
        f'`{verdict.name}`',
        verdict.status,
        str(verdict.groups),
        f'{verdict.prunable:.1%}',
        f'{verdict.reached:.1%}',
        '' if worst is None else f'{worst:.0e}',
        f'{verdict.trace_seconds:.1f}',
        f'{verdict.seconds:.0f}',
        f'{verdict.peak_memory:.1f}',
    ]
    return '| ' + ' | '.join(cells) + ' |'


def _unknown(verdicts: list[Verdict]) -> list[str]:
    found = Counter(
        operator.split('  ')[0]
        for verdict in verdicts
        for operator in set(verdict.unknown)
    )
    lines = [f'- `{name}`: {count} times' for name, count in found.items()]
    return lines or ['None.']
