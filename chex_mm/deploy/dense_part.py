"""The parts of a detector between data and decisions.

Backbone, neck and dense head as one module from a map to maps, and each head
on regions as one of its own: plain tensor computation with a batch in front,
which is all that a graph format has to hold.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..errors import ChexError
from ..packages.paths import generated_batch, run_paths

BACKBONES = ('backbone', 'pts_backbone')
NECKS = ('neck', 'pts_neck')
HEADS = ('bbox_head', 'rpn_head', 'mask_head', 'pts_bbox_head')
REGION_HEADS = ('bbox_head', 'mask_head')


@dataclass(frozen=True, eq=False)
class Part:
    """A module that a graph format can hold.

    Attributes:
        name: 'dense', or the path of a head on regions.
        module: From one tensor to a tuple of tensors.
        names: Of its outputs.
        shape: Of its input, without the batch.
    """

    name: str
    module: nn.Module
    names: tuple[str, ...]
    shape: tuple[int, ...]

    def example(self, batch: int) -> Tensor:
        """An input of some samples, always the same one."""
        generator = torch.Generator().manual_seed(batch)
        return torch.randn(batch, *self.shape, generator=generator)


class DensePart(nn.Module):
    """Backbone, neck and dense head, or one head on regions.

    Args:
        modules: What runs one after the other; each takes what the one
            before returns.
        is_shown: Whether to return what goes into the last one, too.
    """

    def __init__(self, modules: list[nn.Module], is_shown: bool = False):
        super().__init__()
        self.stages = nn.ModuleList(modules)
        self.is_shown = is_shown

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """All tensors of the results, in order."""
        return tuple(tensor for _, tensor in self.named(x))

    def named(self, x: Tensor) -> list[tuple[str, Tensor]]:
        """The results, each with its place in what the head returns."""
        *before, last = self.stages
        for stage in before:
            x = stage(x)
        shown = list(_tensors(x, 'feature')) if self.is_shown else []
        return [*shown, *_tensors(last(x), 'output')]


def dense_parts(model: nn.Module, config: Config, shape) -> list[Part]:
    """What of a detector can be exported; the first part is the dense one.

    Args:
        model: A detector of mmdet or mmdet3d.
        config: What it was built from.
        shape: Height and width of an image.

    Raises:
        ChexError: It has no such part, and why.
    """
    backbone = _first(model, BACKBONES)
    head = _first(model, HEADS)
    if backbone is None or head is None:
        raise ChexError(
            f'{type(model).__name__} has no backbone with a dense head '
            f'({" or ".join(HEADS)}), so there is no part from a map to maps '
            'to export.'
        )
    neck = _first(model, NECKS)
    chain = [m for m in (backbone, neck, head) if m is not None]
    regions = dict(_region_heads(model))
    dense = DensePart(chain, is_shown=bool(regions))
    watched = {'dense': backbone, **regions}
    shapes = _input_shapes(model, watched, config, shape)
    modules = {'dense': dense}
    modules.update((n, DensePart([head])) for n, head in regions.items())
    return [
        _part(model, name, module, shapes[name])
        for name, module in modules.items()
    ]


def left_out(model: nn.Module, parts: list[Part]) -> tuple[str, ...]:
    """Children of a model that no part computes, though they have weights."""
    inside = {id(p) for part in parts for p in part.module.parameters()}
    return tuple(
        name
        for name, child in model.named_children()
        if any(id(p) not in inside for p in child.parameters())
    )


def _first(model: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    found = (getattr(model, name, None) for name in names)
    return next((m for m in found if isinstance(m, nn.Module)), None)


def _region_heads(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Paths and modules of the heads that take cropped features."""
    roi_head = getattr(model, 'roi_head', None)
    for name in REGION_HEADS:
        head = getattr(roi_head, name, None)
        if isinstance(head, nn.ModuleList):
            for index, each in enumerate(head):
                yield f'roi_head.{name}.{index}', each
        elif isinstance(head, nn.Module):
            yield f'roi_head.{name}', head


def _input_shapes(
    model: nn.Module, watched: dict[str, nn.Module], config: Config, shape
) -> dict[str, tuple[int, ...]]:
    """What each of the watched modules is given in a pass over the model."""
    twin = copy.deepcopy(model)
    places = {id(m): path for path, m in model.named_modules()}
    given: dict[str, Any] = {}

    def watch(name: str, module: nn.Module) -> None:
        def see(_, args):
            given.setdefault(name, args)

        twin.get_submodule(places[id(module)]).register_forward_pre_hook(see)

    for name, module in watched.items():
        watch(name, module)
    with torch.no_grad():
        batch = generated_batch(twin, (3, *shape), config)
        run_paths(twin, batch, ('tensor', 'predict'))
    return {name: _checked(name, watched[name], given) for name in watched}


def _checked(name: str, module: nn.Module, given: dict) -> tuple[int, ...]:
    """The shape behind the batch of one map, refused if it is none."""
    kind = type(module).__name__
    if name not in given:
        raise ChexError(
            f'{kind} ({name}) does not run when the detector is given '
            'generated data, so its input is unknown.'
        )
    args = given[name]
    if len(args) == 1 and torch.is_tensor(args[0]) and args[0].dim() == 4:
        return tuple(args[0].shape[1:])
    found = ', '.join(
        str(tuple(a.shape)) if torch.is_tensor(a) else type(a).__name__
        for a in args
    )
    raise ChexError(
        f'{kind} ({name}) takes {found}, not one map of (batch, channels, '
        'height, width). Sampling, grouping and sparse convolution on points '
        'have no operator in ONNX or TorchScript; evaluate the slim model '
        'with tools/test.py instead.'
    )


def _part(model: nn.Module, name: str, module: DensePart, shape) -> Part:
    module.eval()
    part = Part(name, module, (), shape)
    try:
        with torch.no_grad():
            outputs = module.named(part.example(1))
    except Exception as error:
        heads = ' -> '.join(type(m).__name__ for m in module.stages)
        raise ChexError(
            f'{name} of {type(model).__name__} ({heads}) does not map one '
            f'tensor to tensors: {type(error).__name__}: {error}'
        ) from error
    return Part(name, module, tuple(n for n, _ in outputs), shape)


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested results; its name says where it was."""
    if torch.is_tensor(value):
        yield name, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _tensors(part, f'{name}.{key}')
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from _tensors(part, f'{name}.{index}')
