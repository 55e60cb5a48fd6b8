"""Which channel groups are explored, by patterns of module paths.

Every pattern must select something: a typing error is an error, not an
empty scope.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from ..graph.graph import ChannelGraph
from ..graph.groups import ChannelGroup


def module_filter(
    patterns: Iterable[str] | None,
) -> Callable[[str], bool] | None:
    """A predicate: is a module path inside `patterns`? None: all are.

    `backbone` and `backbone.*` both mean the module and all inside it.
    """
    if patterns is None:
        return None
    stems = [pattern.removesuffix('.*') for pattern in patterns]

    def is_within(path: str) -> bool:
        return any(
            fnmatchcase(path, stem) or fnmatchcase(path, stem + '.*')
            for stem in stems
        )

    return is_within


def select_groups(
    graph: ChannelGraph,
    scope: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
) -> tuple[str, ...]:
    """Names of the free groups in `scope` that are not in `exclude`.

    A group belongs to a pattern when one of its producers does.

    Raises:
        ValueError: A pattern matches nothing, or only what is pinned.
    """
    exclude = exclude or ()
    for pattern in scope or ():
        _check_explorable(graph, pattern)
    for pattern in exclude:
        _check_known(graph, pattern)
    inside, outside = module_filter(scope), module_filter(exclude)
    names = tuple(
        name
        for name, group in graph.free.items()
        if (inside is None or _matches(group, inside))
        and not _matches(group, outside)
    )
    if not names:
        reason = (
            f'exclude={list(exclude)} takes away every free group.'
            if exclude
            else 'every channel group is pinned.'
        )
        raise ValueError(f'Nothing is left to explore: {reason}')
    return names


def _matches(group: ChannelGroup, within: Callable[[str], bool]) -> bool:
    return any(map(within, (group.name, *group.modules)))


def _check_known(graph: ChannelGraph, pattern: str) -> None:
    within = module_filter([pattern])
    known = {name.rpartition('.')[0] for name in graph.shapes}
    known |= {work.module for work in graph.work} | set(graph.groups)
    if any(map(within, known)):
        return
    parents = {
        '.'.join(path.split('.')[:depth])
        for path in known
        for depth in range(1, path.count('.') + 2)
    }
    close = difflib.get_close_matches(pattern.removesuffix('.*'), parents)
    top = sorted({path.partition('.')[0] for path in known} - {''})
    raise ValueError(
        f'The pattern {pattern!r} matches no module and no channel group. '
        + (f'Close to it: {", ".join(close)}. ' if close else '')
        + f'Top-level modules: {", ".join(top)}.'
    )


def _check_explorable(graph: ChannelGraph, pattern: str) -> None:
    _check_known(graph, pattern)
    within = module_filter([pattern])
    found = [g for g in graph.groups.values() if _matches(g, within)]
    if any(group.pinned is None for group in found):
        return
    if not found:
        raise ValueError(
            f'The pattern {pattern!r} matches modules that compute no '
            'channels; name the convolutions or linear layers before them.'
        )
    reasons = ''.join(f'\n  {g.name}: {g.pinned}' for g in found)
    raise ValueError(
        f'The pattern {pattern!r} matches only channels that are pinned:'
        f'{reasons}\nTake it out of the scope.'
    )
