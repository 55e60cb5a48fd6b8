"""A config as the text a person would write.

Reading what is written gives the values back, one key a line where they do
not fit on one, each reason once.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

WIDTH = 79


def assignment(name: str, value: Any, reasons: Mapping | None = None) -> str:
    """`name = value` as lines of code.

    Args:
        name: What is assigned to.
        value: Plain data.
        reasons: What to say above the first line that sets a key. A reason
            that was given is taken out.
    """
    return '\n'.join(_lines(f'{name} = ', value, '', 0, reasons or {}))


def comment(text: str) -> str:
    """Paragraphs as comment lines; indented ones are code, kept as it is."""
    lines = []
    for paragraph in text.splitlines():
        if paragraph.startswith(' ') or not paragraph:
            lines.append(f'# {paragraph}'.rstrip())
        else:
            lines += textwrap.wrap(
                paragraph,
                WIDTH,
                initial_indent='# ',
                subsequent_indent='# ',
                break_long_words=False,
                break_on_hyphens=False,
            )
    return '\n'.join(lines)


def docstring(title: str, text: str) -> str:
    """The head of a file."""
    body = '\n'.join(
        line
        for paragraph in text.splitlines()
        for line in (
            textwrap.wrap(
                paragraph, WIDTH, subsequent_indent=_margin(paragraph)
            )
            or ['']
        )
    )
    return f'"""{title}\n\n{body}\n"""'


def _margin(line: str) -> str:
    return ' ' * (len(line) - len(line.lstrip()) + 2 * line.startswith(' '))


def literal(value: Any) -> str:
    """`value` on one line, as configs write it."""
    if isinstance(value, dict):
        if not all(_is_name(key) for key in value):
            inside = ', '.join(
                f'{k!r}: {literal(v)}' for k, v in value.items()
            )
            return f'{{{inside}}}'
        inside = ', '.join(f'{k}={literal(v)}' for k, v in value.items())
        return f'dict({inside})'
    if isinstance(value, list):
        return f'[{", ".join(map(literal, value))}]'
    if isinstance(value, tuple):
        comma = ',' * (len(value) == 1)
        return f'({", ".join(map(literal, value))}{comma})'
    return repr(value)


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier()


def _lines(
    start: str, value: Any, end: str, depth: int, reasons: Mapping
) -> list[str]:
    """Lines of `start`, `value` and `end`, one level per nesting."""
    margin = ' ' * 4 * depth
    line = f'{margin}{start}{literal(value)}{end}'
    parts, opening, closing = _parts(value)
    if not parts or (len(line) <= WIDTH and not _has_reason(value, reasons)):
        return [line]
    lines = [f'{margin}{start}{opening}']
    for key, name, part in parts:
        reason = reasons.pop(key, None) if key is not None else None
        if reason:
            wrapped = comment(reason).splitlines()
            lines += [f'{margin}    {each}' for each in wrapped]
        lines += _lines(name, part, ',', depth + 1, reasons)
    return [*lines, f'{margin}{closing}{end}']


def _parts(value: Any) -> tuple[list, str, str]:
    """What is in a container, and its brackets."""
    if isinstance(value, dict):
        if all(_is_name(key) for key in value):
            parts = [(k, f'{k}=', v) for k, v in value.items()]
            return parts, 'dict(', ')'
        parts = [(k, f'{k!r}: ', v) for k, v in value.items()]
        return parts, '{', '}'
    if isinstance(value, (list, tuple)):
        brackets = '[]' if isinstance(value, list) else '()'
        return [(None, '', part) for part in value], *brackets
    return [], '', ''


def _has_reason(value: Any, reasons: Mapping) -> bool:
    if isinstance(value, dict):
        return any(
            key in reasons or _has_reason(part, reasons)
            for key, part in value.items()
        )
    if isinstance(value, (list, tuple)):
        return any(_has_reason(part, reasons) for part in value)
    return False
