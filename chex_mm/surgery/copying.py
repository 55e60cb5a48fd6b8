"""Copies of a model in training, which plain `deepcopy` may refuse.

A model may keep what its last pass computed (a loss, a feature map); such a
tensor is copied as a plain one.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..channels.copied import deep_copy
from ..channels.trace import tensors_in


def copy_of(model: nn.Module, given: dict[int, object] | None = None):
    """A deep copy of a model.

    Args:
        model: Stays as it is.
        given: By `id` of a part of the model, what the copy has instead.
    """
    memo = dict(given or {})
    for module in model.modules():
        for tensor in _kept_beside(module):
            if not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
    return deep_copy(model, memo)


def _kept_beside(module: nn.Module) -> list[Tensor]:
    """Tensors among its plain attributes; it registers the others."""
    registered = ('_parameters', '_buffers', '_modules')
    attributes = vars(module).items()
    return tensors_in([v for name, v in attributes if name not in registered])
