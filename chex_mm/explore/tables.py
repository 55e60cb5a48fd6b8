"""How the tables of budgets, scores and regrowth policies are filled.

One key names one function; nothing is ever replaced silently.
"""

from __future__ import annotations

from collections.abc import Callable


def register(table: dict[str, Callable], key: str) -> Callable:
    """A decorator that enters a function in `table` under `key`.

    Raises:
        ValueError: The key is taken; names both functions.
    """

    def enter(function: Callable) -> Callable:
        if key in table:
            raise ValueError(
                f'{key!r} is taken by {_path(table[key])}; register '
                f'{_path(function)} under another name.'
            )
        table[key] = function
        return function

    return enter


def look_up(table: dict[str, Callable], key: str, what: str) -> Callable:
    """The function under `key`; `what` names the table in the error."""
    if not isinstance(key, str) or key not in table:
        raise ValueError(
            f'There is no {what} {key!r}; write one of '
            f'{", ".join(map(repr, table))}.'
        )
    return table[key]


def _path(function: Callable) -> str:
    return f'{function.__module__}.{function.__qualname__}'
