"""The channel graph that follows from the facts of a trace.

Labels joined by ties are one channel, and channels that lie in the same
places one group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..graph.cost import Extent, Work
from ..graph.graph import ChannelGraph
from ..graph.groups import ChannelGroup, Slice
from .facts import Facts, Space


class Components:
    """Labels joined by ties: the root of each, and why a root is pinned."""

    def __init__(self, facts: Facts):
        pairs = (
            torch.cat([tie.pairs for tie in facts.ties]).numpy()
            if facts.ties
            else np.zeros((0, 2), dtype=np.int64)
        )
        self.roots = connected(facts.size, pairs)
        self.pinned: dict[int, str] = {0: 'not a channel'}
        for labels, reason in facts.pins:
            for root in np.unique(self.roots[labels.numpy()]).tolist():
                self.pinned.setdefault(root, reason)
        self.is_pinned = np.zeros(facts.size, dtype=bool)
        self.is_pinned[list(self.pinned)] = True


def connected(size: int, pairs: np.ndarray) -> np.ndarray:
    """Smallest label of each label's connected component.

    Hooking and pointer jumping: each round hangs the larger root of every
    pair below the smaller one, then flattens the trees.
    """
    roots = np.arange(size)
    while len(pairs):
        ends = np.sort(roots[pairs], axis=1)
        ends = ends[ends[:, 0] < ends[:, 1]]
        if not len(ends):
            break
        np.minimum.at(roots, ends[:, 1], ends[:, 0])
        while (roots[roots] != roots).any():
            roots = roots[roots]
    return roots


def build_graph(
    facts: Facts,
    shapes: dict[str, tuple[int, ...]],
    parameters: Iterable[str],
    components: Components | None = None,
) -> ChannelGraph:
    """The channel groups that follow from the facts of a trace.

    Args:
        facts: What it found.
        shapes: Of all tensors of the model, by name.
        parameters: Names of those that are parameters.
        components: Of the facts, where they are known.
    """
    components = components or Components(facts)
    groups = _groups(facts, components)
    extents = _Extents(groups, facts, components)
    return ChannelGraph(
        groups=groups,
        shapes=shapes,
        parameters=frozenset(parameters),
        extents={
            place: extents.of(space.labels)
            for place, space in facts.spaces.items()
        },
        work=tuple(
            Work(
                w.module,
                w.op,
                w.each,
                extents.of(w.rows),
                extents.of(w.columns),
                w.geometry,
            )
            for w in facts.work
        ),
        sizes={
            place: extents.of(labels) for place, labels in facts.sizes.items()
        },
        unknown_ops=tuple(facts.unknown),
        doubtful=facts.doubtful,
    )


def _groups(facts: Facts, components: Components) -> dict[str, ChannelGroup]:
    """Components of the same footprint, in the order of their first label."""
    spaces = list(facts.spaces.values())
    groups: dict[str, ChannelGroup] = {}
    for places, positions, root in _footprints(spaces, components):
        slices = tuple(
            Slice(
                spaces[i].tensor,
                spaces[i].dim,
                spaces[i].role,
                torch.from_numpy(positions[:, places == i].copy()),
            )
            for i in np.unique(places)
        )
        reason = components.pinned.get(root)
        if reason is None and len(positions) == 1:
            reason = 'it is a single channel'
        name = _unique_name(slices, groups)
        groups[name] = ChannelGroup(name, len(positions), slices, reason)
    return groups


def _footprints(spaces: list[Space], components: Components) -> Iterator:
    """Components that lie in the same places, together.

    Yields the places (slices,) as numbers of spaces, the positions
    (channels, slices) there, and the root of one of the components.
    """
    if not spaces:
        return
    lengths = [len(space.labels) for space in spaces]
    roots = np.concatenate(
        [components.roots[s.labels.numpy()] for s in spaces]
    )
    where = np.repeat(np.arange(len(spaces)), lengths)
    position = np.concatenate([np.arange(n) for n in lengths])
    order = np.lexsort((position, where, roots))
    roots, where, position = roots[order], where[order], position[order]
    starts = np.flatnonzero(np.diff(roots, prepend=-1))
    stops = np.append(starts[1:], len(roots))
    found: dict[tuple[bytes, bool], list[int]] = {}
    for start, stop in zip(starts.tolist(), stops.tolist()):
        root = roots[start]
        if root:
            key = (where[start:stop].tobytes(), components.is_pinned[root])
            found.setdefault(key, []).append(start)
    for (footprint, _), begins in found.items():
        places = np.frombuffer(footprint, dtype=where.dtype)
        columns = np.add.outer(begins, np.arange(len(places)))
        yield places, position[columns], int(roots[begins[0]])


def _unique_name(slices: tuple[Slice, ...], taken) -> str:
    """The module path of the first producer, numbered where it is taken."""
    group = ChannelGroup('', 0, slices)
    if group.producers:
        name = group.modules[0] or group.producers[0].tensor
    else:
        name = slices[0].tensor.rpartition('.')[0] + '.input'
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f'{name}#{number}'
    return unique


class _Extents:
    """Lengths of label vectors as functions of the groups' sizes."""

    def __init__(self, groups, facts: Facts, components: Components):
        self._roots = components.roots
        self._names = list(groups)
        self._sizes = [g.size for g in groups.values()]
        self._group_of = np.full(facts.size, -1)
        for number, group in enumerate(groups.values()):
            if group.pinned is None:
                first = group.slices[0]
                labels = facts.spaces[first.tensor, first.dim].labels
                members = labels[first.index[:, 0]].numpy()
                self._group_of[self._roots[members]] = number

    def of(self, labels: Tensor) -> Extent:
        numbers = self._group_of[self._roots[labels.numpy()]]
        found, times = np.unique(numbers, return_counts=True)
        return Extent(
            fixed=int(times[found == -1].sum()),
            per_channel={
                self._names[n]: int(t) // self._sizes[n]
                for n, t in zip(found.tolist(), times.tolist())
                if n >= 0
            },
        )
