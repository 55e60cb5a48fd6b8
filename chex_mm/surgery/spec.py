"""The difference between a dense model and its narrow one, as plain data.

A spec holds sizes only, so it fits in a config or a JSON file: applied to a
freshly built dense model it makes room for exactly the narrow weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

from torch import Tensor, nn

from ..errors import ChexError
from .resize import all_tensors

Size = Union[int, tuple[int, ...]]


@dataclass(frozen=True)
class SlimSpec:
    """New sizes per module: attributes as integers, tensors as shapes.

    Example:
        SlimSpec({'conv1': {'out_channels': 24, 'weight': (24, 3, 7, 7)}})

    Attributes:
        channels: Module path to the names and sizes that differ from the
            dense model. Lists, as JSON gives them, become tuples.
    """

    channels: Mapping[str, Mapping[str, Size]]

    def __post_init__(self):
        plain = {
            path: {
                name: size if isinstance(size, int) else tuple(size)
                for name, size in sizes.items()
            }
            for path, sizes in self.channels.items()
        }
        object.__setattr__(self, 'channels', plain)

    def __str__(self):
        return '\n'.join(
            f'{path or "(model)"}: '
            + ', '.join(f'{name} {size}' for name, size in sizes.items())
            for path, sizes in self.channels.items()
        )


def describe(dense: nn.Module, narrow: nn.Module) -> SlimSpec:
    """All sizes in which `narrow` differs from `dense`.

    Raises:
        ValueError: The models do not have the same tensors.
        ChexError: A tensor that no checkpoint holds is cut.
    """
    wide, own = all_tensors(dense), all_tensors(narrow)
    if wide.keys() != own.keys():
        raise ValueError(
            'Only one of the two models has '
            f'{sorted(wide.keys() ^ own.keys())[0]!r}. Describe a narrow '
            'model beside the dense one that it was cut from.'
        )
    saved = narrow.state_dict()
    channels: dict[str, dict[str, Size]] = {}
    for tensor in own:
        if own[tensor].shape == wide[tensor].shape:
            continue
        if tensor not in saved:
            raise ChexError(
                f'The buffer {tensor!r} is cut, but no checkpoint holds it, '
                'so no slim model could restore it. Register it with '
                'persistent=True.'
            )
        path, _, name = tensor.rpartition('.')
        channels.setdefault(path, {})[name] = tuple(own[tensor].shape)
    for path, module in narrow.named_modules():
        sizes = _new_sizes(dense.get_submodule(path), module)
        if sizes:
            channels[path] = {**sizes, **channels.get(path, {})}
    return SlimSpec(channels)


def narrow_(model: nn.Module, spec: SlimSpec) -> nn.Module:
    """Makes a freshly built dense model narrow, in place.

    Parameters keep their identity and `requires_grad`; their values are the
    first ones of the dense model until the narrow weights are loaded.

    Raises:
        ValueError: The model has no such module, attribute or tensor, or it
            is smaller than the spec says.
    """
    _check_spec(model, spec)
    for path, sizes in spec.channels.items():
        module = model.get_submodule(path)
        for name, size in sizes.items():
            if isinstance(size, int):
                setattr(module, name, size)
            else:
                tensor = getattr(module, name)
                first = tuple(slice(length) for length in size)
                tensor.data = tensor.data[first].clone()
    return model


def _new_sizes(before: nn.Module, after: nn.Module) -> dict[str, Size]:
    """Integer attributes of a module that differ."""
    return {
        name: value
        for name, value in vars(after).items()
        if type(value) is int and value != getattr(before, name)
    }


def _check_spec(model: nn.Module, spec: SlimSpec) -> None:
    """Refuses entries that `model` cannot take."""
    modules = dict(model.named_modules(remove_duplicate=False))
    advice = 'Build the model from the config that the spec was made with.'
    for path, sizes in spec.channels.items():
        if path not in modules:
            raise ValueError(
                f'The slim spec has a module {path!r}, the '
                f'{type(model).__name__} has not. {advice}'
            )
        module = modules[path]
        for name, size in sizes.items():
            found = getattr(module, name, None)
            if isinstance(found, Tensor):
                found = tuple(found.shape)
            if not _can_shrink(found, size):
                raise ValueError(
                    f'The slim spec wants {name} = {size} of {path!r}, but '
                    f'the {type(module).__name__} there has {found}. {advice}'
                )


def _can_shrink(found: Any, size: Size) -> bool:
    """Whether `found`, a shape or an attribute, can become `size`.

    An attribute that is 0 in a dense model counts what a cut took away.
    """
    if isinstance(size, int):
        return isinstance(found, int) and 0 < size <= (found or size)
    return (
        isinstance(found, tuple)
        and len(found) == len(size)
        and all(0 < new <= old for new, old in zip(size, found))
    )
