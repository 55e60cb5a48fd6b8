"""The most recently used values of channels that are inactive.

An entry of a tensor is remembered as it last was in use. The memory is dense
and on the CPU, whatever is held where the model trains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import ChexError
from .activity import Activity
from .executions import Execution

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Transition:
    """From one sub-model to the next, as an execution holds them."""

    execution: Execution
    before: Activity
    after: Activity

    def carried(
        self, name: str, held: Tensor, returning: Tensor | None = None
    ) -> Tensor:
        """What belongs to tensor `name`, as the next sub-model holds it.

        Args:
            name: Of the model's tensor.
            held: The tensor itself, or what an optimizer keeps beside it.
            returning: Dense values of what returns; zero if left out.
        """
        dense = self.execution.widen(self.before, name, held)
        stays = self.before.of(name) & self.after.of(name)
        other = 0 if returning is None else returning.to(dense)
        dense = torch.where(stays.to(dense.device), dense, other)
        return self.execution.hold(self.after, name, dense)


class Memory:
    """One dense tensor for every tensor that explored channels touch.

    Args:
        tensors: The dense model's.
        names: Which of them.
    """

    def __init__(self, tensors: Tensors, names: Iterable[str]):
        self.values = {name: _kept(tensors[name].detach()) for name in names}

    def recall(self, active: Activity, name: str, dense: Tensor) -> Tensor:
        """All entries as they last were in use, where the model is.

        Args:
            active: What is in use now.
            name: Of the tensor.
            dense: Its present values, of full shape.
        """
        values = self.values[name].to(dense.device)
        return torch.where(active.of(name).to(dense.device), dense, values)

    def remember(self, name: str, dense: Tensor) -> None:
        """Keeps what `recall` gave."""
        self.values[name].copy_(dense)


def _kept(tensor: Tensor) -> Tensor:
    """A copy on the CPU; pinned if it has to travel from and to a GPU."""
    copy = tensor.to('cpu', copy=True)
    return copy.pin_memory() if tensor.is_cuda else copy


def carry_optimizer(
    optimizer: Optimizer, tensors: Tensors, transition: Transition
) -> None:
    """Makes the state follow; that of what leaves or returns becomes zero.

    Raises:
        ChexError: The optimizer keeps something of another shape beside a
            tensor that changes its shape.
    """
    shape = transition.execution.shape
    for name in transition.after:
        before = shape(transition.before, name)
        is_resized = before != shape(transition.after, name)
        state = optimizer.state.get(tensors[name], {})
        for key, value in state.items():
            if torch.is_tensor(value) and tuple(value.shape) == before:
                # The same object: a compiled optimizer is compiled for it.
                transition.execution.put(
                    value, transition.carried(name, value)
                )
            elif torch.is_tensor(value) and value.dim() and is_resized:
                raise ChexError(
                    f'{type(optimizer).__name__} keeps {key!r} of shape '
                    f'{tuple(value.shape)} beside {name!r} of shape '
                    f'{before}; nothing says how it follows channels. Use '
                    "one that keeps tensors of the parameter's own shape, "
                    "such as SGD or AdamW, or execution='masked'."
                )
