"""Layers that no pass was seen to use, though some pass might.

Nothing says how they follow a cut, so what they may read is not cut.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ChexError
from ..graph.graph import ChannelGraph

SHOWN = 5  # layers or groups in a message


def check_doubt(graph: ChannelGraph, names: Iterable[str]) -> None:
    """Refuses a cut that a layer in doubt may have to follow.

    A length tells: that of the group, or of a dimension that holds it.

    Args:
        graph: The channels of a model.
        names: The groups to be cut.

    Raises:
        ChexError: Names such layers and groups, and what to write.
    """
    suspects = {tensor: set(graph.shapes[tensor]) for tensor in graph.doubtful}
    layers: dict[str, None] = {}
    cut: dict[str, None] = {}
    for name in names if suspects else ():
        lengths = _lengths(graph, name)
        for tensor, sizes in suspects.items():
            if sizes & lengths:
                layers[tensor.rpartition('.')[0] or tensor] = None
                cut[name] = None
    if layers:
        raise ChexError(
            f'{_listed(layers)} may read {_listed(cut)}, to be cut, in a '
            'mode of the model in which it could not be run; trace a pass '
            'that it can run there as well: chex_mm.trace_channels(model, '
            'inputs, also=[run]), where run(model) uses these layers.'
        )


def _lengths(graph: ChannelGraph, name: str) -> set[int]:
    """How long a dimension may be that a group's channels are in."""
    group = graph.groups[name]
    lengths = {group.size}
    for piece in group.slices:
        lengths.add(piece.index.numel())
        lengths.add(graph.shapes[piece.tensor][piece.dim])
    return lengths


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more
