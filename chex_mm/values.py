"""What a config may say where a value is expected, and how it is written.

True is no number here, nor is the text of one: both would compare and
multiply, and mean something else.
"""

from __future__ import annotations

import math
from keyword import iskeyword
from numbers import Integral, Real
from typing import Any


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return (
        isinstance(value, Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def is_share(value: Any) -> bool:
    """Whether it is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1


def is_whole(value: Any) -> bool:
    """Whether it is a whole number; 2.0 is none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_count(name: str, value: Any, example: int) -> None:
    """Refuses what is no whole number of at least 1."""
    if not is_whole(value) or value < 1:
        raise ValueError(
            f'{name}={value!r} must be a whole number of at least 1, such as '
            f'{example}.'
        )


def check_patterns(name: str, value: Any) -> None:
    """Refuses what is no list of patterns of module paths; None is one."""
    if value is None:
        return
    is_list = isinstance(value, (list, tuple))
    if not is_list or not all(isinstance(each, str) for each in value):
        raise ValueError(
            f'{name}={value!r} must be a list of patterns of module paths, '
            f"such as {name}=['backbone.*']."
        )


def literal(value: Any) -> str:
    """`value` as the code that configs have for it, on one line."""
    if isinstance(value, dict):
        if all(_is_argument(key) for key in value):
            items = [f'{key}={literal(v)}' for key, v in value.items()]
            return f'dict({", ".join(items)})'
        items = [f'{key!r}: {literal(v)}' for key, v in value.items()]
        return f'{{{", ".join(items)}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(literal, value))}]'
    if isinstance(value, tuple):
        comma = ',' * (len(value) == 1)
        return f'({", ".join(map(literal, value))}{comma})'
    return repr(value)


def _is_argument(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier() and not iskeyword(key)
