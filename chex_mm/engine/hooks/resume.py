"""Where a resumed run gets its random states and pending gradients back.

mmengine restores weights, optimizer and schedulers. What it does not: the
random states, and gradients that wait for the rest of an accumulation.
Random states come back at the one point where nothing is drawn any more
before the next training batch: an epoch-based loop draws it right after
`before_train_epoch`; an iteration-based loop first draws all batches that
were used before, so its iterator is wrapped until it has.
"""

from __future__ import annotations

import logging
from typing import Any

from mmengine.dist import (
    all_gather_object,
    broadcast_object_list,
    get_rank,
    get_world_size,
    is_main_process,
)
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from ...dispatch.randomness import random_state, set_random_state
from .training_run import bare_model


class RankStates:
    """What every rank has of its own at one point of the run.

    Its random states, and the gradients that wait for the rest of an
    accumulation. A checkpoint is written by the first rank alone, so the
    others must have handed in theirs before.
    """

    def __init__(self):
        self._kept: list[dict] | None = None
        self._gradients: list[dict] | None = None

    def gather(self, runner: Runner) -> None:
        """Keeps the states of now; every rank must call it."""
        self._kept = all_gather_object(random_state())
        if is_accumulating(runner):
            self._gradients = gathered(own_gradients(runner))

    def forget(self) -> None:
        """Drops what was gathered for a checkpoint that is written."""
        self._kept = self._gradients = None

    def give_back(self) -> None:
        """Goes on as if nothing had been drawn since `gather`."""
        set_random_state(self._kept[get_rank()])
        self.forget()

    def random(self) -> list[dict]:
        """One random state for every rank that handed it in."""
        return self._kept or [random_state()]

    def gradients(self, runner: Runner) -> list[dict]:
        """Pending gradients by name, of every rank that handed them in."""
        found = self._gradients or [own_gradients(runner)]
        return [dict(each) for each in found]


def is_accumulating(runner: Runner) -> bool:
    """Whether gradients wait for more before the optimizer steps."""
    wrapper = runner.optim_wrapper  # a config outside of training
    return isinstance(wrapper, OptimWrapper) and not wrapper.should_update()


def own_gradients(runner: Runner) -> dict[str, Tensor]:
    """Gradients of this rank that wait for the rest of an accumulation."""
    if not is_accumulating(runner):
        return {}
    return {
        name: parameter.grad.cpu()
        for name, parameter in bare_model(runner).named_parameters()
        if parameter.grad is not None
    }


def gathered(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Those of all ranks, on the first rank; nothing on the others.

    One rank after the other, so that none but the first holds them all.
    """
    found = []
    for rank in range(get_world_size()):
        part = [tensors if rank == get_rank() else None]
        broadcast_object_list(part, src=rank)
        if is_main_process():
            found += part
    return found


def state_of_rank(states: list[dict]) -> dict | None:
    """What this process goes on with; None if nothing was saved for it."""
    if len(states) != get_world_size():
        print_log(
            f'The checkpoint has the random states of {len(states)} '
            f'processes, this run has {get_world_size()}: it draws other '
            'numbers than the interrupted run would have.',
            logger='current',
            level=logging.WARNING,
        )
    return states[get_rank()] if get_rank() < len(states) else None


def gradients_of_rank(states: list[dict] | dict) -> dict[str, Tensor]:
    """The pending gradients that this process goes on with.

    With another number of processes each gets the mean, which is what they
    would have come to: processes average their gradients.
    """
    if isinstance(states, dict):  # until 0.1 those of the first rank only
        states = [states]
    if len(states) == get_world_size():
        return dict(states[get_rank()])
    names = dict.fromkeys(name for state in states for name in state)
    return {
        name: sum(s[name] for s in states if name in s) / len(states)
        for name in names
    }


def is_checkpoint_due(runner: Runner, by_epoch: bool) -> bool:
    """Whether a CheckpointHook writes after this epoch or iteration."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.by_epoch == by_epoch:
            is_in_turn, is_last = (
                (hook.every_n_epochs, hook.is_last_train_epoch)
                if by_epoch
                else (hook.every_n_train_iters, hook.is_last_train_iter)
            )
            if is_in_turn(runner, hook.interval, hook.save_begin) or (
                hook.save_last and is_last(runner)
            ):
                return True
    return False


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


def set_gradients(model: nn.Module, gradients: dict[str, Tensor]) -> None:
    """Gives back what `own_gradients` took."""
    for name, gradient in gradients.items():
        parameter = model.get_parameter(name)
        parameter.grad = gradient.to(parameter.device, copy=True)
