"""Other sizes inside a live model, narrower or wider than before.

Parameters and buffers stay the same objects, so optimizers, hooks and
wrappers keep their hold on them, and module attributes follow their tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..graph.graph import ChannelGraph
from ..graph.groups import owner
from .modules import check_owner, fitting_attributes

Sizes = dict[str, dict[str, int]]  # module path, attribute: its value


def all_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers under every name that they have."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def set_data(tensor: Tensor, data: Tensor) -> None:
    """Gives `tensor` data of any shape, in the memory format it has.

    Its gradient, which would not fit, is dropped.
    """
    data = in_format_of(tensor, data)
    tensor.grad = None
    # While the last loss is alive, so is autograd's gradient accumulator, and
    # it insists on the old shape. Only a change of type makes torch drop it.
    other = torch.float32 if data.dtype == torch.float64 else torch.float64
    tensor.data = data.new_empty(0, dtype=other)
    tensor.data = data


def in_format_of(tensor: Tensor, data: Tensor) -> Tensor:
    """`data`, channels last if `tensor` is (and so are its activations)."""
    last = torch.channels_last
    if tensor.dim() != 4 or tensor.is_contiguous():
        return data
    is_last = tensor.is_contiguous(memory_format=last)
    return data.contiguous(memory_format=last) if is_last else data


def dense_sizes(
    model: nn.Module, graph: ChannelGraph, groups: Iterable[str]
) -> Sizes:
    """The attributes of every module that owns a tensor of `groups`.

    Taken before the first cut: what a narrow module says does not always
    tell how wide it was (a depthwise convolution of one channel).

    Raises:
        UnknownModule: A module might compute with a size that changes.
    """
    tensors, names = all_tensors(model), {}
    for name, tensor in tensors.items():
        names.setdefault(id(tensor), []).append(name)
    cut: dict[str, list[int]] = {}
    for group in groups:
        for piece in graph.groups[group].slices:
            sizes = cut.setdefault(piece.tensor, [])
            sizes.append(tensors[piece.tensor].shape[piece.dim])
    found: Sizes = {}
    for tensor, sizes in cut.items():
        for name in names[id(tensors[tensor])]:
            path, own = owner(name)
            module = model.get_submodule(path)
            check_owner(module, path, own, sizes)
            found[path] = fitting_attributes(module)
    return found


def fit_sizes(
    model: nn.Module,
    dense: Sizes,
    graph: ChannelGraph,
    counts: Mapping[str, int],
) -> None:
    """Makes the attributes of `model` fit its tensors at an allocation.

    Args:
        model: The model that was traced or a copy, its tensors resized.
        dense: Of `dense_sizes`.
        graph: Its channels.
        counts: Active channels; groups left out keep all.
    """
    for path, sizes in dense.items():
        module = model.get_submodule(path)
        _set(module, sizes)
        _set(module, fitting_attributes(module))
    set_counted_sizes(model, graph, {**graph.counts(), **counts})


def set_counted_sizes(
    model: nn.Module, graph: ChannelGraph, counts: Mapping[str, int]
) -> None:
    """Makes attributes follow that no tensor of their module tells."""
    for (path, name), extent in graph.sizes.items():
        setattr(model.get_submodule(path), name, extent.length(counts))


def fit_owners(model: nn.Module, names: Iterable[str]) -> None:
    """Makes the attributes of the modules that own tensors `names` fit."""
    for path in {owner(name)[0] for name in names}:
        module = model.get_submodule(path)
        _set(module, fitting_attributes(module))


def _set(module: nn.Module, sizes: Mapping[str, int]) -> None:
    for name, size in sizes.items():
        setattr(module, name, size)
