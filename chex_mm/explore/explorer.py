"""Exploration of a model in training: prune, regrow, restore.

All mutable state of an exploration is in one object, and inactive channels
are zero in producers, norms and consumers whenever it has spoken.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from ..channels.graph import ChannelGraph
from ..errors import ChexError
from .allocation import AllocationSpace, allocate, uniform_share
from .budget import Budget
from .memory import Activity, Memory, Zeroing, reset_optimizer, swap_copy
from .plan import Plan, StepReport, count_active
from .regrowth import REGROWTHS, regrow_factor
from .scores import channel_scores
from .selection import gram, residuals, select_columns
from .settings import ExplorerSettings
from .state import check_state, signature
from .weights import channel_norms, channel_weights, find_tensors


class ChannelExplorer:
    """Trains a sub-model that changes its channels within a budget.

    The constructor makes the initial sub-model; `step` changes it,
    `total_steps` times in all, after which the budget holds; `enforce` must
    follow every optimizer step.

    Args:
        model: The model in training, not wrapped.
        graph: Its channels.
        budget: What the final sub-model may cost.
        total_steps: Number of steps until the structure is fixed.
        **settings: See `ExplorerSettings`.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        budget: Budget,
        total_steps: int,
        **settings,
    ):
        if total_steps < 1:
            raise ValueError(
                f'total_steps={total_steps}: an exploration needs at least '
                'one step.'
            )
        self.model, self.graph, self.budget = model, graph, budget
        self.total_steps = total_steps
        self.settings = choice = ExplorerSettings(**settings)
        space = AllocationSpace.build(
            graph, budget, choice.scope, choice.exclude, choice.divisor
        )
        uniform = uniform_share(space)
        floor = uniform / 2 if choice.floor is None else choice.floor
        self.space = space.with_floor(lambda size: max(1, floor * size))
        self.space.check_reachable()
        self.groups = {name: graph.groups[name] for name in space.levels}
        self._tensors = find_tensors(model, graph, self.groups)
        self.keep = {
            name: torch.ones(group.size, dtype=torch.bool)
            for name, group in self.groups.items()
        }
        self.steps_done = 0
        self._activity = Activity(self.groups, self.keep, self._tensors)
        self.memory = Memory(self._tensors, self._activity)
        self._change(self._initial(uniform + choice.regrow))

    @property
    def is_finished(self) -> bool:
        """Whether the structure is fixed."""
        return self.steps_done >= self.total_steps

    def share(self) -> float:
        """Cost of the current sub-model over the cost of the dense one."""
        return self.space.share(count_active(self.keep))

    @torch.no_grad()
    def plan(self) -> Plan:
        """Decides the next structure; changes nothing."""
        if self.is_finished:
            raise ChexError(
                f'All {self.total_steps} exploration steps are done; the '
                'structure is fixed.'
            )
        step = self.steps_done + 1
        factor = regrow_factor(step / self.total_steps, self.settings.regrow)
        scores = channel_scores(
            self.settings.score, self._tensors, self.groups, self.keep
        )
        counts = allocate(self.space, scores, self.keep)
        plan = Plan(step, factor, {}, {})
        for name, count in counts.items():
            plan.retained[name], plan.keep[name] = self._explore(
                name, count, plan
            )
        return plan

    @torch.no_grad()
    def apply(
        self,
        plan: Plan,
        optimizer: Optimizer | None = None,
        copies: Iterable[nn.Module] = (),
    ) -> StepReport:
        """Makes the planned sub-model.

        Args:
            plan: From `plan`, here or on another rank.
            optimizer: Its state of what leaves or returns becomes zero.
            copies: Averaged copies of the model, to be the same sub-model.
        """
        if plan.step != self.steps_done + 1:
            raise ChexError(
                f'The plan is for step {plan.step}, but step '
                f'{self.steps_done + 1} is next; make a new plan.'
            )
        before, activity = self.keep, self._activity
        self._change(plan.keep)
        self.steps_done = plan.step
        if optimizer is not None:
            reset_optimizer(optimizer, self._tensors, activity, self._activity)
        for copy in copies:
            swap_copy(
                find_tensors(copy, self.graph, self.groups),
                self._tensors,
                activity,
                self._activity,
            )
        return StepReport(
            step=plan.step,
            share=self.share(),
            retained_share=self.space.share(count_active(plan.retained)),
            active=count_active(self.keep),
            added=sum(int((self.keep[n] & ~before[n]).sum()) for n in before),
            removed=sum(
                int((before[n] & ~self.keep[n]).sum()) for n in before
            ),
        )

    def step(self, optimizer: Optimizer | None = None) -> StepReport:
        """Prunes, regrows and restores: `apply(plan())`."""
        return self.apply(self.plan(), optimizer)

    @torch.no_grad()
    def enforce(self, model: nn.Module | None = None) -> None:
        """Zeroes what is inactive, as after every optimizer step.

        Args:
            model: An averaged copy; the live model if left out.
        """
        tensors = (
            self._tensors
            if model is None
            else find_tensors(model, self.graph, self.groups)
        )
        self._zeroing(tensors)

    def state_dict(self) -> dict:
        """Everything that resuming needs but the model's other tensors."""
        memory = {
            name: self.memory.recall(self._tensors, self._activity, name)
            for name in self._activity
        }
        return {
            'signature': signature(
                self.groups, self.budget, self.total_steps, self.settings
            ),
            'step': self.steps_done,
            'keep': {name: mask.clone() for name, mask in self.keep.items()},
            'memory': memory,
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict) -> None:
        """Goes back to a saved state.

        The memory holds the explored tensors whole, so it does not matter
        whether the model's own checkpoint was loaded before or after the
        constructor cut the initial sub-model.

        Raises:
            ValueError: The state is of another model or other settings.
        """
        check_state(state, self.state_dict())
        self.steps_done = state['step']
        self.keep = {name: state['keep'][name].cpu() for name in self.groups}
        self._activity = Activity(self.groups, self.keep, self._tensors)
        for name, tensor in self.memory.values.items():
            tensor.copy_(state['memory'][name])
        self.memory.restore(self._tensors, self._activity)
        self._zeroing = Zeroing(self._activity, self._tensors)

    @torch.no_grad()
    def _change(self, keep: dict[str, Tensor]) -> None:
        after = Activity(self.groups, keep, self._tensors)
        self.memory.swap(self._tensors, self._activity, after)
        self.keep, self._activity = keep, after
        self._zeroing = Zeroing(after, self._tensors)

    def _initial(self, share: float) -> dict[str, Tensor]:
        keep = {}
        for name, group in self.groups.items():
            count = self.space.at_least(name, min(1, share) * group.size)
            norms = channel_norms(self._tensors, group)
            order = norms.argsort(descending=True, stable=True)
            keep[name] = torch.zeros(group.size, dtype=torch.bool)
            keep[name][order[:count]] = True
        return keep

    def _explore(
        self, name: str, count: int, plan: Plan
    ) -> tuple[Tensor, Tensor]:
        """The masks of what is retained and of what will be active."""
        active = self.keep[name]
        total = self.space.at_least(
            name, count + math.ceil(plan.regrow_factor * len(active))
        )
        retained = active.clone()
        if total == count == int(active.sum()):
            return retained, active.clone()
        products = gram(self._recalled(name))
        if not products.isfinite().all():
            raise ChexError(
                f'The weights of {name!r} are not finite; training has '
                'diverged before this exploration step.'
            )
        retained[active] = select_columns(
            products[active][:, :, active], count
        )
        inactive = (~retained).nonzero()[:, 0]
        drawn = REGROWTHS[self.settings.regrowth](
            residuals(products, retained)[inactive],
            total - count,
            self._generator(plan.step, name),
        )
        keep = retained.clone()
        keep[inactive[drawn]] = True
        return retained, keep

    def _recalled(self, name: str) -> list[Tensor]:
        """Producers as they would return: from inputs that are active."""
        recalled = []
        for piece in self.groups[name].producers:
            values = self.memory.recall(
                self._tensors, self._activity, piece.tensor
            )
            reads = self._activity.of(piece.tensor, but=piece.dim)
            recalled.append(
                channel_weights(torch.where(reads, values, 0), piece)
            )
        return recalled

    def _generator(self, step: int, name: str) -> Generator:
        """A fresh one per draw, so that no random state needs saving."""
        key = f'{self.settings.seed}/{step}/{name}'
        return Generator().manual_seed(zlib.crc32(key.encode()))
