"""A module that carries its channel masks in its own state dict.

It is the wrapped module itself: same class, attributes and state-dict keys,
plus one boolean buffer per explored channel group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

MASK = 'chex_mask/'  # then the group's path in the module, dots as slashes


@MODELS.register_module(name='MaskedBackbone')
def masked_backbone(backbone: dict) -> nn.Module:
    """Builds `backbone`, marked as what `CHEXHook` explores.

    Any part of a model may be wrapped, a neck or a head as well.
    """
    module = MODELS.build(backbone)
    module.chex_scope = True
    module._register_load_state_dict_pre_hook(_take_masks, with_module=True)
    return module


def marked_scopes(model: nn.Module) -> tuple[str, ...]:
    """Paths of the modules in `model` that `MaskedBackbone` built."""
    return tuple(
        path
        for path, module in model.named_modules()
        if getattr(module, 'chex_scope', False)
    )


def write_masks(model: nn.Module, keep: Mapping[str, Tensor]) -> None:
    """Writes the active channels into the buffers of marked modules.

    The buffers come in the order of `keep`, whatever a checkpoint had made
    before: averaged copies pair buffers by position.
    """
    for scope in marked_scopes(model):
        module = model.get_submodule(scope)
        masks = dict(_inside(scope, keep))
        if list(masks) != [n for n in module._buffers if n.startswith(MASK)]:
            _replace_masks(module, masks)
        for name, mask in masks.items():
            module._buffers[name].copy_(mask)


def drop_masks(model: nn.Module) -> None:
    """Removes the buffers that `write_masks` made."""
    for scope in marked_scopes(model):
        _replace_masks(model.get_submodule(scope), {})


def _inside(scope: str, keep: Mapping) -> Iterator[tuple[str, Tensor]]:
    for group, mask in keep.items():
        if group.startswith(scope + '.'):
            path = group[len(scope) + 1 :]
            yield MASK + path.replace('.', '/'), mask


def _replace_masks(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    for name in [n for n in module._buffers if n.startswith(MASK)]:
        del module._buffers[name]
    device = next(module.parameters()).device
    for name, mask in masks.items():
        module.register_buffer(name, mask.to(device, copy=True))


def _take_masks(module: nn.Module, state_dict, prefix: str, *_) -> None:
    """Makes room for the masks of a state dict that is about to be loaded."""
    found = {
        key[len(prefix) :]: torch.empty_like(value)
        for key, value in state_dict.items()
        if key.startswith(prefix + MASK)
    }
    if found:
        _replace_masks(module, found)
