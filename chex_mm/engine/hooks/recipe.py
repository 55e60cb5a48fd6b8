"""Do the norm layers of a model train so that their scales can rank channels?

What makes exploration impossible is an error, what makes it worse a
warning; both carry the config line to paste.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn
from torch.optim import Optimizer

from ...graph.groups import ChannelGroup, Role
from ...values import literal

SHOWN = 3  # modules that a message lists
Option = tuple[str, str, object]  # module path, its option, the value to set


def check_trainable(model: nn.Module, groups: Iterable[ChannelGroup]) -> None:
    """Refuses groups that hold frozen parameters or frozen statistics.

    Raises:
        ValueError: Names the modules and the config lines to paste.
    """
    frozen = frozen_modules(model, groups)
    if not frozen:
        return
    options = [option for path in frozen for option in _thaw(model, path)]
    thaw = (
        f'Write in the config:\n    {_line(model, options)}\nor'
        if options
        else 'Either set requires_grad=True, or'
    )
    first = ', '.join(repr(path) for path in frozen[:SHOWN])
    more = ', ...' if len(frozen) > SHOWN else ''
    raise ValueError(
        f'CHEX cannot explore layers that do not train: {_list(frozen)} '
        f'have frozen parameters or statistics. {thaw} leave them out: '
        f'CHEXHook(exclude=[{first}{more}]).'
    )


def recipe_warnings(
    model: nn.Module,
    groups: Iterable[ChannelGroup],
    optimizer: Optimizer,
) -> list[str]:
    """What of the norm recipe is not met, each with the line to paste."""
    groups = tuple(groups)
    scales = _scales(model, groups)
    zero = [path for path, scale in scales.items() if not scale.any()]
    decayed = decayed_scales(model, groups, optimizer)
    warnings = []
    if zero:
        options = [
            (owner, 'zero_init_residual', False)
            for path in zero
            for owner in _owners(model, path, 'zero_init_residual')
        ]
        line = _line(model, options) if options else 'zero_init_residual=False'
        warnings.append(
            f'{len(zero)} explored norm layers start at 0 ({_list(zero)}): '
            f'their channels would be pruned first. Write {line}.'
        )
    if decayed:
        warnings.append(
            f'{len(decayed)} explored norm layers have weight decay '
            f'({_list(decayed)}), which pulls the scales that rank channels '
            'to 0. Write optim_wrapper = dict(paramwise_cfg=dict('
            'norm_decay_mult=0)).'
        )
    return warnings


def frozen_modules(
    model: nn.Module, groups: Iterable[ChannelGroup]
) -> tuple[str, ...]:
    """Paths of modules in `groups` with frozen parameters or statistics."""
    return tuple(dict.fromkeys(_frozen(model, groups)))


def decayed_scales(
    model: nn.Module, groups: Iterable[ChannelGroup], optimizer: Optimizer
) -> tuple[str, ...]:
    """Paths of norm layers in `groups` whose scales have weight decay."""
    decay = {
        id(parameter): group.get('weight_decay', 0)
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    scales = _scales(model, groups)
    return tuple(p for p, scale in scales.items() if decay.get(id(scale)))


def init_norms(
    model: nn.Module, groups: Iterable[ChannelGroup], value: float
) -> int:
    """Starts explored norm layers at `value`; returns how many.

    Only those that are fresh, all 1 or all 0: weights that come from
    somewhere are left alone.
    """
    fresh = [
        scale.data
        for scale in _scales(model, groups).values()
        if (scale == 1).all() or not scale.any()
    ]
    for scale in fresh:
        scale.fill_(value)
    return len(fresh)


def _scales(
    model: nn.Module, groups: Iterable[ChannelGroup]
) -> dict[str, nn.Parameter]:
    """Module path to scale of the norm layers in `groups`."""
    return {
        piece.tensor.rpartition('.')[0]: model.get_parameter(piece.tensor)
        for group in groups
        for piece in group.with_role(Role.SCALE)
    }


def _frozen(model: nn.Module, groups: Iterable[ChannelGroup]) -> Iterator[str]:
    parameters = dict(model.named_parameters())
    for piece in (s for group in groups for s in group.slices):
        path = piece.tensor.rpartition('.')[0]
        if piece.tensor in parameters:
            if not parameters[piece.tensor].requires_grad:
                yield path
        elif piece.role is Role.STATISTIC:
            if not model.get_submodule(path).training:
                yield path


def _thaw(model: nn.Module, path: str) -> Iterator[Option]:
    """The options that would let the module at `path` train."""
    for owner in _owners(model, path, 'frozen_stages'):
        if model.get_submodule(owner).frozen_stages >= 0:
            yield owner, 'frozen_stages', -1
    for owner in _owners(model, path, 'norm_eval'):
        if model.get_submodule(owner).norm_eval:
            yield owner, 'norm_eval', False
    for owner in _owners(model, path, 'norm_cfg'):
        norm = model.get_submodule(owner).norm_cfg
        if norm.get('requires_grad') is False:
            yield owner, 'norm_cfg', {**norm, 'requires_grad': True}


def _owners(model: nn.Module, path: str, option: str) -> Iterator[str]:
    """The outermost module around `path` that was built with `option`."""
    parts = path.split('.')
    for depth in range(1, len(parts) + 1):
        owner = '.'.join(parts[:depth])
        if getattr(model.get_submodule(owner), option, None) is not None:
            yield owner
            return


def _line(model: nn.Module, options: Iterable[Option]) -> str:
    """One assignment that sets all `options` in a config."""
    tree: dict = {}
    for owner, option, value in options:
        path = ['model', *owner.split('.')]
        if getattr(model.get_submodule(owner), 'chex_scope', False):
            path.append('backbone')  # inside MaskedBackbone
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[option] = value
    return f'model = {literal(tree["model"])}'


def _list(paths: Iterable[str]) -> str:
    paths = list(paths)
    more = len(paths) - SHOWN
    return ', '.join(paths[:SHOWN]) + (f' and {more} more' if more > 0 else '')
