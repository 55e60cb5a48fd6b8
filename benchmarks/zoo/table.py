"""Verdicts on a model zoo as a Markdown page."""

from __future__ import annotations

from collections import Counter

from chex_mm.packages.mmdet3d.small_scene import SHARE, THINNER

from .sources import MOST
from .verdict import MOST_APART, Verdict

NOT_RUNNABLE = 'not runnable'
HEAD = (
    '| architecture | status | groups | prunable | FLOPs left | difference '
    '| pixels | trace, s | all, s | GB | date |\n'
    '|---|---|---|---|---|---|---|---|---|---|---|'
)

MEANING = (
    'Exact: masked and narrow outputs, at random masks and at masks of '
    'the largest weights, and those of the model that was saved and '
    f'loaded, differ by at most {MOST_APART:.0e} of the largest output, '
    'and a training step of the narrow model reaches every parameter that '
    'it reaches in the dense one. A detector of two stages is compared on '
    'shared regions, and its heads on what they compute, before boxes are '
    'decoded. Prunable: share of the '
    'multiply-adds in layers of which rows or columns may be cut. Seconds '
    'are those of one CPU core, images are as small as the model takes, '
    'settings that ask for many regions or samples ask for '
    f'{MOST}, and scenes of mmdet3d have about {SHARE**2} times less '
    f'ground and {THINNER} times fewer points than their configs say. Not '
    'runnable is what needs a package, a download or a compiled kernel that '
    'the machine lacks, what its own package cannot build, and what learns '
    'from its own average; it is no failure.'
)


def table_text(
    verdicts: list[Verdict], versions: list[str], total: int
) -> str:
    """The page: what was done, the table, and why some are not exact.

    Args:
        verdicts: What has been judged.
        versions: Of packages, the one whose zoo it is last.
        total: Architectures of the package.
    """
    counts = Counter(verdict.status for verdict in verdicts)
    summary = ', '.join(f'{n} {status}' for status, n in counts.most_common())
    lines = [
        f'# Model zoo of {versions[-1]}',
        '',
        f'{len(verdicts)} of {total} architectures have been put to the '
        f'test: {summary}. Written by `python -m benchmarks.zoo`, with '
        f'{", ".join(versions)}, on a CPU. '
        f'`python -m benchmarks.zoo {versions[-1].partition(" ")[0]}` goes on '
        'with the rest.',
        '',
        MEANING,
        '',
        HEAD,
        *(_row(verdict) for verdict in verdicts),
        '',
        '## Not exact, or not trained, and why',
        '',
        *_reasons(verdicts, {*counts} - {NOT_RUNNABLE}),
        '',
        '## Not runnable on this machine, and why',
        '',
        *_reasons(verdicts, {NOT_RUNNABLE}),
        '',
        '## Operators without a rule',
        '',
        *_unknown(verdicts),
        '',
        '## What is pinned, and why',
        '',
        *_pinned(verdicts),
    ]
    return '\n'.join(lines) + '\n'


def _reasons(verdicts: list[Verdict], statuses: set[str]) -> list[str]:
    lines = [
        f'- `{verdict.name}`: {verdict.status}: {verdict.reason}'
        for verdict in verdicts
        if verdict.status in statuses and verdict.reason
    ]
    return lines or ['None.']


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
        str(verdict.side),
        f'{verdict.trace_seconds:.1f}',
        f'{verdict.seconds:.0f}',
        f'{verdict.peak_memory:.1f}',
        verdict.date,
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
