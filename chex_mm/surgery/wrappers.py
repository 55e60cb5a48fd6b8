"""Wrappers are taken off, and what cannot be copied and run is refused.

Whatever gets through is a plain module: its parameters are its own leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy

from ..errors import ChexError


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside of `torch.compile` and of data parallel wrappers.

    Names in a channel graph are those of this module.
    """
    while True:
        if isinstance(model, (DataParallel, DistributedDataParallel)):
            model = model.module
        elif isinstance(getattr(model, '_orig_mod', None), nn.Module):
            model = model._orig_mod
        else:
            return model


def traceable(model: nn.Module) -> nn.Module:
    """The unwrapped model, if channels can flow through a copy of it.

    Raises:
        ChexError: A module has parameters that are not its own; names it and
            the way out.
    """
    model = unwrapped(model)
    for path, module in model.named_modules():
        for finds, advice in OBSTACLES:
            for found in finds(module):
                raise ChexError(
                    f'{path or "The model"} is a {type(module).__name__} '
                    f'{found}, which cannot be traced. {advice}'
                )
    return model


def _scripted(module: nn.Module) -> Iterator[str]:
    if isinstance(module, torch.jit.ScriptModule):
        yield 'made by torch.jit'


def _sharded(module: nn.Module) -> Iterator[str]:
    names = {each.__name__ for each in type(module).__mro__}
    if names & {'FullyShardedDataParallel', 'FSDPModule'}:
        yield 'whose parameters are sharded over ranks'


def _lazy(module: nn.Module) -> Iterator[str]:
    tensors = (*module.parameters(False), *module.buffers(False))
    if any(map(is_lazy, tensors)):
        yield 'with parameters that have no shape yet'


def _quantised(module: nn.Module) -> Iterator[str]:
    kinds = ('torch.ao.nn.quantized', 'torch.ao.nn.intrinsic.quantized')
    if type(module).__module__.startswith(kinds):
        yield 'with packed integer weights'


def _pruned(module: nn.Module) -> Iterator[str]:
    for name in dict(module.named_buffers(recurse=False)):
        if name.endswith('_mask') and hasattr(module, f'{name[:-5]}_orig'):
            yield f'under torch.nn.utils.prune ({name[:-5]!r})'


def _hooked(name: str) -> Callable[[nn.Module], Iterator[str]]:
    """By the class of the pre-forward hook that torch.nn.utils adds."""

    def found(module: nn.Module) -> Iterator[str]:
        for hook in getattr(module, '_forward_pre_hooks', {}).values():
            kind = type(hook)
            if kind.__name__ == name and kind.__module__.startswith('torch.'):
                yield f'under torch.nn.utils ({hook.name!r})'

    return found


def _computed(module: nn.Module) -> Iterator[str]:
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor) and value.grad_fn is not None:
            yield f'with a tensor {name!r} that was computed with gradients'


INSTEAD = 'or use torch.nn.utils.parametrizations.{0}(module) instead.'
OBSTACLES = (
    (_scripted, 'Trace the model before it is scripted.'),
    (_sharded, 'Trace the model before it is wrapped by FSDP.'),
    (_lazy, 'Run the model once first: model(*inputs).'),
    (_quantised, 'Prune the model before it is quantised.'),
    (
        _pruned,
        'Make it permanent first: torch.nn.utils.prune.remove(module, name).',
    ),
    (
        _hooked('WeightNorm'),
        'Remove it first, torch.nn.utils.remove_weight_norm(module), '
        + INSTEAD.format('weight_norm'),
    ),
    (
        _hooked('SpectralNorm'),
        'Remove it first, torch.nn.utils.remove_spectral_norm(module), '
        + INSTEAD.format('spectral_norm'),
    ),
    (_computed, 'Detach it first, or compute it in forward().'),
)
