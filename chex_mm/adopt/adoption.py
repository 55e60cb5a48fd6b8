"""What a config of a dense model must say differently to be a CHEX run.

Found on the model that the config builds, not on its name: frozen layers,
frozen statistics, norms that start at zero, weights from elsewhere.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from torch import nn

from ..engine.models.slim_model import is_pretrained, type_name
from ..errors import ChexError

Place = tuple[str, ...]
Changes = dict[str, Any]  # nested like the config


def model_changes(
    model: nn.Module, architecture: dict, pretrained: bool = False
) -> Changes:
    """What the model config must say differently.

    Args:
        model: What `architecture` builds.
        architecture: The model config.
        pretrained: Keep the weights that it starts from.
    """
    changes: Changes = {}
    if not pretrained:
        for place in pretrained_places(architecture):
            _set(changes, place, None)
    for path, module in model.named_modules():
        for option, value in _wanted(module):
            place = _owner(model, architecture, path, option)
            if place is not None:
                _set(changes, (*place, option), value)
    return changes


def pretrained_places(config: Any, place: Place = ()) -> Iterator[Place]:
    """Where a config names weights to start from."""
    if isinstance(config, (list, tuple)):
        for index, value in enumerate(config):
            yield from pretrained_places(value, (*place, str(index)))
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        if is_pretrained(key, value):
            yield (*place, key)
        else:
            yield from pretrained_places(value, (*place, key))


def applied(base: Any, changes: Changes) -> Any:
    """`base` with the changes, as plain data."""
    if isinstance(base, dict):
        result = {key: applied(value, {}) for key, value in base.items()}
        for key, change in changes.items():
            inner = base.get(key)
            nested = isinstance(change, dict) and isinstance(
                inner, (dict, list, tuple)
            )
            result[key] = applied(inner, change) if nested else change
        return result
    if isinstance(base, (list, tuple)):
        return type(base)(
            applied(value, changes.get(str(index), {}))
            for index, value in enumerate(base)
        )
    return copy.deepcopy(base)


def mergeable(base: Any, changes: Changes) -> Changes:
    """The changes as a config says them.

    What the base says already is left out, and a list is given as a whole.
    """
    result: Changes = {}
    for key, change in changes.items():
        inner = base.get(key)
        if key in base and inner == change:
            continue
        if isinstance(inner, (list, tuple)) and isinstance(change, dict):
            result[key] = applied(inner, change)
        elif isinstance(inner, dict) and isinstance(change, dict):
            result[key] = mergeable(inner, change)
        else:
            result[key] = change
    return result


def wrapped_backbone(architecture: dict, scope: tuple, changes: Changes):
    """The changes with `MaskedBackbone`, where the scope is one backbone.

    Returns:
        Changes, and the scope that is left for the hook to name.
    """
    name = scope[0] if len(scope) == 1 else ''
    inner = architecture.get(name)
    if not name.endswith('backbone') or not isinstance(inner, dict):
        return changes, scope
    whole = applied(inner, changes.get(name, {}))
    wrapper = dict(_delete_=True, type='MaskedBackbone', backbone=whole)
    return {**changes, name: wrapper}, ()


def check_base(name: str, config: Config) -> None:
    """Refuses a config that cannot be inherited from, or explores already.

    Raises:
        ChexError: Says why.
    """
    if any(type_name(hook) == 'CHEXHook' for hook in base_hooks(config)):
        raise ChexError(
            f'{name} has a CHEXHook already; pass the config of the dense '
            'model, or change budget=dict(keep=...) there.'
        )
    if not isinstance(config.model.get('type'), str):
        raise ChexError(
            f'{name} is a config in pure Python style, which others cannot '
            "inherit from with _base_ = '...'; pass its twin in text style."
        )


def base_hooks(config: Config) -> list[dict]:
    """The custom hooks of a config that are configs themselves."""
    hooks = config.get('custom_hooks') or []
    return [hook for hook in hooks if isinstance(hook, dict)]


def _wanted(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Options that a module was built with, and what they should be."""
    frozen = getattr(module, 'frozen_stages', None)
    if isinstance(frozen, int) and frozen >= 0:
        yield 'frozen_stages', -1
    for option in ('norm_eval', 'zero_init_residual'):
        if getattr(module, option, None) is True:
            yield option, False
    norm = getattr(module, 'norm_cfg', None)
    if isinstance(norm, dict) and norm.get('requires_grad') is False:
        yield 'norm_cfg', {**norm, 'requires_grad': True}


def _owner(
    model: nn.Module, architecture: dict, path: str, option: str
) -> Place | None:
    """The innermost part of the config around `path` that takes `option`."""
    node, place, found = architecture, (), None
    for part in path.split('.'):
        if isinstance(node, (list, tuple)) and part.isdigit():
            node = node[int(part)] if int(part) < len(node) else None
        else:
            node = node.get(part) if isinstance(node, dict) else None
        if node is None:
            break
        place = (*place, part)
        module = model.get_submodule('.'.join(place))
        if isinstance(node, dict) and (
            option in node or getattr(module, option, None) is not None
        ):
            found = place
    return found


def _set(changes: Changes, place: Place, value: Any) -> None:
    for part in place[:-1]:
        changes = changes.setdefault(part, {})
    changes[place[-1]] = value
