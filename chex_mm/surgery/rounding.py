"""What rounding alone does to a model: the yardstick of comparisons.

The model with other last digits is equal to it in exact arithmetic up to
those digits, so what is less far apart than that says nothing of a cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .compare import Difference, compare
from .copying import copy_of

NOISE = 30  # times what moving every weight by its last digit does


def rounding(model: nn.Module, run: Callable[[nn.Module], Any]) -> Difference:
    """How far rounding moves the outputs of a model, as `compare` has it.

    Args:
        model: It stays as it is.
        run: Runs a model and returns its outputs, as `compare` takes them.
    """
    return compare(model, moved(copy_of(model)), run)


@torch.no_grad()
def moved(model: nn.Module) -> nn.Module:
    """The model itself, every weight moved by its last digit, up or down."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            up = torch.rand(parameter.shape, generator=generator) < 0.5
            signs = torch.where(up, 1.0, -1.0).to(parameter)
            parameter.mul_(1 + signs * torch.finfo(parameter.dtype).eps)
    return model
