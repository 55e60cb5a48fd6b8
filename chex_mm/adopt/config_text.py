"""A config as the text a person would write.

Reading what is written gives the values back; lines are broken as OpenMMLab's
are, by yapf, and each reason stands there once.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

from yapf.yapflib.yapf_api import FormatCode

from ..values import literal

WIDTH = 79
# What `Config.pretty_text` of mmengine asks for.
STYLE = dict(
    based_on_style='pep8',
    blank_line_before_nested_class_or_def=True,
    split_before_expression_after_opening_paren=True,
)


def assignment(
    name: str,
    value: Any,
    reasons: dict[str, str] | None = None,
    width: int = WIDTH,
) -> str:
    """`name = value` as lines of code; see `formatted`."""
    return formatted(f'{name} = {literal(value)}', reasons, width)


def formatted(
    code: str, reasons: dict[str, str] | None = None, width: int = WIDTH
) -> str:
    """Breaks the lines of `code` and says why it sets what it sets.

    Args:
        code: One statement.
        reasons: What to say above the first line that sets a key. A reason
            that was given is taken out.
        width: Of a line.
    """
    for key in list(reasons or ()):
        place = re.search(rf'\b{key}=', code)
        if place:
            said = f'\n{comment(reasons.pop(key))}\n'
            code = code[: place.start()] + said + code[place.start() :]
    style = {**STYLE, 'column_limit': width}
    return FormatCode(code, style_config=style)[0].rstrip()


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
