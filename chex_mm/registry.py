"""Tables: one key, one entry; nothing is ever replaced silently."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from importlib.util import find_spec
from typing import Any


class Table(dict):
    """What is known under each key.

    Example:
        >>> SCORES = Table('score')
        >>> @SCORES.register('ones')
        ... def ones(values):
        ...     return [1 for _ in values]
        >>> SCORES.look_up('ones')([3, 4])
        [1, 1]

    Args:
        what: What an entry is, for messages.
        advice: What to do instead of a second entry.
    """

    def __init__(
        self, what: str, advice: str = 'Register it under another key.'
    ):
        super().__init__()
        self.what, self.advice = what, advice

    def register(self, *keys: Any) -> Callable:
        """A decorator that enters what it decorates under `keys`.

        Raises:
            ValueError: A key is taken; names both entries.
        """

        def enter(entry: Any) -> Any:
            for key in keys:
                if key in self:
                    raise ValueError(
                        f'{_key(key)} has the {self.what} '
                        f'{_path(self[key])} already; {_path(entry)} cannot '
                        f'be a second one. {self.advice}'
                    )
            self.update(dict.fromkeys(keys, entry))
            return entry

        return enter

    def look_up(self, key: Any) -> Any:
        """The entry under `key`.

        Raises:
            ValueError: There is none; names those that there are.
        """
        if not isinstance(key, str) or key not in self:
            raise ValueError(
                f'There is no {self.what} {key!r}; write one of '
                f'{", ".join(map(repr, self))}.'
            )
        return self[key]


@cache
def keys_of(kind: type) -> tuple[type | str, ...]:
    """What a type and its bases may be entered under, the nearest first.

    By its full name a type is known whose package need not be there.

    Example:
        >>> keys_of(bool)[:3]
        (<class 'bool'>, 'builtins.bool', <class 'int'>)
    """
    return tuple(
        key
        for each in kind.__mro__
        for key in (each, f'{each.__module__}.{each.__qualname__}')
    )


def key_in(table: Collection, kind: type) -> type | str | None:
    """The key of a table under which a type is known, or None."""
    return next((key for key in keys_of(kind) if key in table), None)


def is_installed(name: str) -> bool:
    """Whether a module can be found; only its parents are imported."""
    parent = name.rpartition('.')[0]
    return bool((not parent or is_installed(parent)) and find_spec(name))


def _key(key: Any) -> str:
    """A key as a person would write it."""
    if isinstance(key, tuple):
        return ' of '.join(_key(part) for part in reversed(key) if part)
    if hasattr(key, '__name__') and hasattr(key, '__module__'):
        return key.__name__ if isinstance(key, type) else str(key)
    return repr(key) if isinstance(key, str) else str(key)


def _path(entry: Any) -> str:
    return f'{entry.__module__}.{entry.__name__}'
