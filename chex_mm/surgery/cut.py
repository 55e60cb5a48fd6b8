"""Takes channels out of a model: as zeros, or physically.

Both ways give the same outputs. A narrow model's parameters and buffers are
the same objects as before with fewer channels in them, so optimizers, hooks
and wrappers keep their hold on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..graph.graph import ChannelGraph
from ..graph.groups import Slice, owner
from .copying import copy_of
from .doubt import check_doubt
from .modules import check_owner
from .resize import all_tensors, fit_owners, set_counted_sizes, set_data
from .wrappers import unwrapped

Masks = Mapping[str, Tensor]


@dataclass(eq=False)
class _Cut:
    """One tensor, all its names, and which positions stay in it."""

    tensor: Tensor
    names: list[str]
    kept: dict[int, Tensor] = field(default_factory=dict)  # dim: bool mask

    def drop(self, dim: int, positions: Tensor) -> None:
        """Takes `positions` of dimension `dim` away."""
        size = self.tensor.shape[dim]
        mask = self.kept.setdefault(dim, torch.ones(size, dtype=torch.bool))
        mask[positions] = False

    def narrow(self, tensor: Tensor) -> Tensor:
        """What stays of `tensor`, of the same layout as the cut one."""

        # The dimension that leaves least first: less is moved by the next.
        def share(part: tuple[int, Tensor]) -> float:
            return int(part[1].sum()) / len(part[1])

        for dim, mask in sorted(self.kept.items(), key=share):
            positions = mask.nonzero().flatten().to(tensor.device)
            tensor = tensor.index_select(dim, positions)
        return tensor


@torch.no_grad()
def mask_channels(model: nn.Module, graph: ChannelGraph, keep: Masks) -> None:
    """Zeros every slice of the inactive channels, in place at full shape.

    Where nothing but the direction of a vector counts, it becomes one of
    ones (see `Slice`).

    Args:
        model: The traced model, or a copy of it.
        graph: Its channels.
        keep: Bool mask of the active channels per group; groups left out
            keep all.

    Raises:
        ValueError: Masks or model do not fit the graph.
    """
    model = unwrapped(model)
    tensors = _checked_tensors(model, graph, keep)
    inactive = list(_inactive(graph, keep))
    # Zeros last: what a vector reads of another masked channel is zero too.
    for each, positions in sorted(inactive, key=lambda pair: -pair[0].idle):
        tensor = tensors[each.tensor]
        positions = positions.to(tensor.device)
        tensor.index_fill_(each.dim, positions, each.idle)


def cut_channels(model: nn.Module, graph: ChannelGraph, keep: Masks) -> None:
    """Removes the inactive channels in place, from gradients too.

    Takes what `mask_channels` takes. Every parameter and buffer stays the
    same object; module attributes follow.

    Raises:
        ValueError: Masks or model do not fit the graph.
        UnknownModule: A module might compute with a size that changes.
        ChexError: A layer that was not traced might read what is cut.
    """
    model = unwrapped(model)
    cuts = _plan(model, graph, keep)
    for cut in cuts:
        _shrink(cut)
    _fit(model, cuts, graph, keep)


def slim(model: nn.Module, graph: ChannelGraph, keep: Masks) -> nn.Module:
    """A copy of `model` without the inactive channels, same outputs.

    Takes what `mask_channels` takes. Only what stays is copied, and no
    gradients.
    """
    model = unwrapped(model)
    cuts = _plan(model, graph, keep)
    narrow = copy_of(model, {id(c.tensor): _copy(c) for c in cuts})
    _fit(narrow, cuts, graph, keep)
    return narrow


def _checked_tensors(
    model: nn.Module, graph: ChannelGraph, keep: Masks
) -> dict[str, Tensor]:
    """`all_tensors` of a model that `graph` and `keep` fit."""
    graph.check_keep(keep)
    tensors = all_tensors(model)
    for name, shape in graph.shapes.items():
        if name not in tensors:
            raise ValueError(
                f'The channel graph has {name!r}, the model does not. Trace '
                'this model: graph = chex_mm.trace_channels(model, inputs)'
            )
        found = tuple(tensors[name].shape)
        if found != tuple(shape):
            raise ValueError(
                f'{name!r} has shape {found} in the model and '
                f'{tuple(shape)} in the channel graph. Pass the model as it '
                'was traced, or trace this one: '
                'graph = chex_mm.trace_channels(model, inputs)'
            )
    return tensors


def _inactive(
    graph: ChannelGraph, keep: Masks
) -> Iterator[tuple[Slice, Tensor]]:
    """Slices, and their positions that are inactive."""
    for name, mask in keep.items():
        if not mask.all():
            for each in graph.groups[name].slices:
                yield each, each.positions(~mask.cpu())


def _plan(model: nn.Module, graph: ChannelGraph, keep: Masks) -> list[_Cut]:
    """One cut per tensor, however many names and groups it has."""
    tensors = _checked_tensors(model, graph, keep)
    check_doubt(graph, (n for n, mask in keep.items() if not mask.all()))
    names: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        names.setdefault(id(tensor), []).append(name)
    cuts: dict[int, _Cut] = {}
    for each, positions in _inactive(graph, keep):
        tensor = tensors[each.tensor]
        key = id(tensor)
        cut = cuts.setdefault(key, _Cut(tensor, names[key]))
        cut.drop(each.dim, positions)
    for cut in cuts.values():
        sizes = [cut.tensor.shape[dim] for dim in cut.kept]
        for name in cut.names:
            path, tensor = owner(name)
            check_owner(model.get_submodule(path), path, tensor, sizes)
    return list(cuts.values())


def _shrink(cut: _Cut) -> None:
    """Cuts the tensor and its gradient; both keep their identity."""
    tensor, grad = cut.tensor, cut.tensor.grad
    set_data(tensor, cut.narrow(tensor.data))
    if grad is not None:
        grad.data = cut.narrow(grad.data)
        tensor.grad = grad


def _copy(cut: _Cut) -> Tensor:
    """A narrow copy of the tensor, of the same type."""
    tensor = cut.tensor
    data = cut.narrow(tensor.detach())
    if isinstance(tensor, nn.Parameter):
        return type(tensor)(data, tensor.requires_grad)
    return data


def _fit(
    model: nn.Module, cuts: list[_Cut], graph: ChannelGraph, keep: Masks
) -> None:
    """Makes the attributes of all modules fit what was cut."""
    fit_owners(model, (name for cut in cuts for name in cut.names))
    set_counted_sizes(model, graph, graph.counts(keep))
