"""Where a resumed run gets its random states and pending gradients back.

mmengine restores weights, optimizer and schedulers. What it does not: the
random states, and gradients that wait for the rest of an accumulation.
Random states come back at the one point where nothing is drawn any more
before the next training batch: an epoch-based loop draws it right after
`before_train_epoch`; an iteration-based loop first draws all batches that
were used before, so its iterator is wrapped until it has.
"""

from __future__ import annotations

from typing import Any

from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from ..randomness import set_random_state


class RewoundIterator:
    """Skips batches, then sets the random states before the next one.

    Args:
        loop: An `IterBasedTrainLoop` that has `loop.iter` iterations behind
            it; gets its own iterator back when the skipping is over.
        state: Of the random generators, from `random_state`.
    """

    def __init__(self, loop: Any, state: dict):
        self.loop, self.state = loop, state
        self.iterator = loop.dataloader_iterator
        self.left = loop.iter

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            self.loop.dataloader_iterator = self.iterator
            set_random_state(self.state)
        self.left -= 1
        return next(self.iterator)


def pending_gradients(
    model: nn.Module, wrapper: OptimWrapper
) -> dict[str, Tensor]:
    """Gradients that wait for the rest of an accumulation, by name."""
    if wrapper.should_update():
        return {}
    return {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def set_gradients(model: nn.Module, gradients: dict[str, Tensor]) -> None:
    """Gives back what `pending_gradients` took."""
    for name, gradient in gradients.items():
        parameter = model.get_parameter(name)
        parameter.grad = gradient.to(parameter.device, copy=True)
