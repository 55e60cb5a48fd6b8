"""A channel graph as plain python and tensors, and back.

What an older version wrote is read: an entry that it lacks has a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple

from .cost import Extent, Geometry, Work
from .graph import ChannelGraph
from .groups import ChannelGroup, Role, Slice


def graph_state(graph: ChannelGraph) -> dict:
    """`graph` as plain python and tensors; operators without a rule left out.

    `graph_from_state` is the way back.
    """
    return dict(
        groups=[
            dict(
                name=group.name,
                size=group.size,
                pinned=group.pinned,
                slices=[
                    (s.tensor, s.dim, s.role.value, s.index)
                    for s in group.slices
                ],
            )
            for group in graph.groups.values()
        ],
        shapes={name: tuple(shape) for name, shape in graph.shapes.items()},
        parameters=sorted(graph.parameters),
        extents=[
            (tensor, dim, *_extent_state(extent))
            for (tensor, dim), extent in graph.extents.items()
        ],
        work=[
            (
                work.module,
                work.op,
                work.each,
                _extent_state(work.rows),
                _extent_state(work.columns),
                astuple(work.geometry),
            )
            for work in graph.work
        ],
        sizes=[
            (module, attribute, *_extent_state(extent))
            for (module, attribute), extent in graph.sizes.items()
        ],
        doubtful=list(graph.doubtful),
    )


def graph_from_state(state: Mapping) -> ChannelGraph:
    """The graph that `graph_state` packed."""
    groups = (
        ChannelGroup(
            name=group['name'],
            size=group['size'],
            slices=tuple(
                Slice(tensor, dim, Role(role), index.cpu())
                for tensor, dim, role, index in group['slices']
            ),
            pinned=group['pinned'],
        )
        for group in state['groups']
    )
    return ChannelGraph(
        groups={group.name: group for group in groups},
        shapes=dict(state['shapes']),
        parameters=frozenset(state['parameters']),
        extents={
            (tensor, dim): Extent(*extent)
            for tensor, dim, *extent in state['extents']
        },
        work=tuple(
            Work(
                module,
                op,
                each,
                Extent(*rows),
                Extent(*columns),
                # Version 0.1.0 did not write it.
                Geometry(*(geometry[0] if geometry else ())),
            )
            for module, op, each, rows, columns, *geometry in state['work']
        ),
        sizes={
            (module, attribute): Extent(*extent)
            for module, attribute, *extent in state['sizes']
        },
        doubtful=tuple(state.get('doubtful', ())),  # older ones lack it
    )


def _extent_state(extent: Extent) -> tuple[int, dict]:
    return extent.fixed, dict(extent.per_channel)
