"""Exploration of a model in training: prune, regrow, restore.

All mutable state of an exploration is in one object. Whenever it has spoken,
inactive channels are zero in producers, norms and consumers, or not there.
"""

from __future__ import annotations

import math
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from ..budget.allocation import AllocationSpace, allocate, uniform_share
from ..budget.budgets import Budget
from ..errors import ChexError
from ..graph.graph import ChannelGraph
from ..graph.groups import ChannelGroup, Slice, count_active
from ..submodel.sub_model import SubModel
from ..submodel.weights import channel_norms, channel_weights
from ..trace.comparison import Comparison, check_cut
from ..trace.trace import Runs
from ..values import is_whole
from .plan import Plan, StepReport
from .regrowth import REGROWTHS, regrow_factor
from .scores import channel_scores
from .selection import gram, residuals, select_columns
from .settings import ExplorerSettings
from .state import check_state, signature


class ChannelExplorer:
    """Trains a sub-model that changes its channels within a budget.

    The constructor makes the initial sub-model; `after_step`, to be called
    after every optimizer step, keeps it and changes it when the schedule says
    so. After the last change the budget holds.

    Args:
        model: The model in training, dense and not wrapped.
        graph: Its channels.
        budget: What the final sub-model may cost.
        total_steps: Number of changes; they are made by `step` where there
            is no schedule, and `enforce` follows every optimizer step.
        schedule: The iterations, from 1, after which a change is due.
        **settings: See `ExplorerSettings`.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        budget: Budget,
        total_steps: int | None = None,
        schedule: Sequence[int] = (),
        **settings,
    ):
        self.schedule = tuple(schedule)
        self.total_steps = _checked_steps(total_steps, self.schedule)
        self.model, self.graph, self.budget = model, graph, budget
        self.settings = choice = ExplorerSettings(**settings)
        space = AllocationSpace.build(
            graph, budget, choice.scope, choice.exclude, choice.divisor
        )
        uniform = uniform_share(space)
        floor = uniform / 2 if choice.floor is None else choice.floor
        self.space = space.with_floor(lambda size: max(1, floor * size))
        self.space.check_reachable()
        self.sub_model = SubModel(
            model, graph, self.space.levels, choice.execution
        )
        self.steps_done = 0
        self.sub_model.move(self._initial(uniform + choice.regrow))

    @property
    def groups(self) -> dict[str, ChannelGroup]:
        """The explored groups, by name."""
        return self.sub_model.groups

    @property
    def keep(self) -> dict[str, Tensor]:
        """The masks of what is active, by group."""
        return self.sub_model.keep

    @property
    def is_finished(self) -> bool:
        """Whether the structure is fixed."""
        return self.steps_done >= self.total_steps

    def is_due(self, iteration: int) -> bool:
        """Whether the schedule asks for a change after so many iterations."""
        return self.steps_done < bisect_right(self.schedule, iteration)

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
            self.settings.score, self.sub_model, self.groups, self.keep
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
        before = self.keep
        self.sub_model.move(plan.keep, optimizer, copies)
        self.steps_done = plan.step
        return StepReport(
            step=plan.step,
            regrow_factor=plan.regrow_factor,
            share=self.share(),
            retained_share=self.space.share(count_active(plan.retained)),
            active=count_active(self.keep),
            added=sum(int((self.keep[n] & ~before[n]).sum()) for n in before),
            removed=sum(
                int((before[n] & ~self.keep[n]).sum()) for n in before
            ),
        )

    def step(
        self,
        optimizer: Optimizer | None = None,
        copies: Iterable[nn.Module] = (),
    ) -> StepReport:
        """Prunes, regrows and restores: `apply(plan(), ...)`."""
        return self.apply(self.plan(), optimizer, copies)

    def after_step(
        self,
        iteration: int,
        optimizer: Optimizer | None = None,
        copies: Iterable[nn.Module] = (),
        make_plan: Callable[[ChannelExplorer], Plan] | None = None,
    ) -> StepReport | None:
        """Keeps the sub-model after an optimizer step, changes it if due.

        Args:
            iteration: How many iterations are done.
            optimizer: As in `apply`.
            copies: As in `apply`.
            make_plan: Decides, by default `plan`; on several ranks one plan
                has to reach all of them.

        Returns:
            What was done, if a change was due.
        """
        copies = tuple(copies)
        self.enforce()
        for copy in copies:
            self.enforce(copy)
        if not self.is_due(iteration):
            return None
        plan = self.plan() if make_plan is None else make_plan(self)
        return self.apply(plan, optimizer, copies)

    def verify(self, inputs, also: Sequence = ()) -> None:
        """Refuses a sub-model that is another model once it is narrow.

        Runs a masked copy and a narrow one beside each other; in compact
        execution the narrow one is a copy of what trains.

        Args:
            inputs: Forward arguments as a tuple, or a callable `run(model)`.
            also: More callables `run(model)`.

        Raises:
            ChexError: Names the first operator that differs.
        """
        runs = Runs.of(inputs, also)
        dense = self.sub_model.dense_copy()
        comparison = Comparison(
            dense,
            (runs.cost, *runs.also),
            self.graph,
            lambda keep: self.sub_model.narrow_copy(dense),
        )
        check_cut(comparison, self.keep)

    def enforce(self, model: nn.Module | None = None) -> None:
        """Zeroes what is inactive, as after every optimizer step.

        Compact execution holds nothing inactive and does nothing here.

        Args:
            model: An averaged copy; the live model if left out.
        """
        self.sub_model.enforce(model)

    def state_dict(self) -> dict:
        """Everything that resuming needs but the model's other tensors."""
        return {
            'signature': signature(
                self.groups, self.budget, self.total_steps, self.settings
            ),
            'step': self.steps_done,
            'keep': {name: mask.clone() for name, mask in self.keep.items()},
            'memory': {n: self.sub_model.recall(n) for n in self.sub_model},
        }

    def load_state_dict(self, state: dict) -> None:
        """Goes back to a saved state, of whatever execution.

        The memory holds the explored tensors whole, so it does not matter
        what the model held before. The state of an optimizer and averaged
        copies that were loaded dense follow by `sub_model.adopt_optimizer`
        and `sub_model.adopt`.

        Raises:
            ValueError: The state is of another model or other settings.
        """
        check_state(state, self.state_dict(), self.groups)
        self.steps_done = state['step']
        keep = {name: state['keep'][name].cpu() for name in self.groups}
        self.sub_model.restore(keep, state['memory'])

    def _initial(self, share: float) -> dict[str, Tensor]:
        keep = {}
        for name, group in self.groups.items():
            count = self.space.at_least(name, min(1, share) * group.size)
            norms = channel_norms(self.sub_model, group)
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
            values = self._returning(piece)
            direction = self.groups[name].direction(piece)
            if direction is not None:
                vectors = self._returning(direction)
                values = torch._weight_norm(vectors, values, piece.dim)
            recalled.append(channel_weights(values, piece))
        return recalled

    def _returning(self, piece: Slice) -> Tensor:
        values = self.sub_model.recall(piece.tensor)
        reads = self.sub_model.active.of(piece.tensor, but=piece.dim)
        return torch.where(reads.to(values.device), values, 0)

    def _generator(self, step: int, name: str) -> Generator:
        """A fresh one per draw, so that no random state needs saving."""
        key = f'{self.settings.seed}/{step}/{name}'
        return Generator().manual_seed(zlib.crc32(key.encode()))


def _checked_steps(total_steps: int | None, schedule: tuple[int, ...]) -> int:
    """How many changes there will be.

    Raises:
        ValueError: None, or the schedule is no row of later and later
            iterations, or not of that length.
    """
    pairs = zip((0, *schedule), schedule)
    if not all(is_whole(n) and before < n for before, n in pairs):
        raise ValueError(
            f'schedule={schedule!r} must be whole numbers from 1, each larger '
            'than the one before, such as range(500, 10001, 500).'
        )
    if total_steps is None and schedule:
        return len(schedule)
    if not is_whole(total_steps) or total_steps < 1:
        raise ValueError(
            f'total_steps={total_steps!r}: an exploration needs at least '
            'one step.'
        )
    if schedule and len(schedule) != total_steps:
        raise ValueError(
            f'total_steps={total_steps}, but the schedule has {len(schedule)} '
            'steps; leave total_steps out.'
        )
    return total_steps
