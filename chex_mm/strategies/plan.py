"""What one exploration step decides, and what it did.

Plain data between deciding and doing: a plan can be sent to other ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..graph.groups import count_active


@dataclass(frozen=True, eq=False)
class Plan:
    """The next structure of the explored groups.

    Attributes:
        step: Number of the step, from 1.
        regrow_factor: Share of each group that regrows.
        retained: Masks of what column subset selection keeps.
        keep: Masks of what will be active: retained and regrown.
    """

    step: int
    regrow_factor: float
    retained: dict[str, Tensor]
    keep: dict[str, Tensor]

    def __str__(self):
        retained = sum(count_active(self.retained).values())
        active = sum(count_active(self.keep).values())
        total = sum(map(len, self.keep.values()))
        return (
            f'Step {self.step}: of {total} channels in {len(self.keep)} '
            f'groups {retained} are retained and {active - retained} regrow '
            f'(regrow factor {self.regrow_factor:.3g}).'
        )


@dataclass(frozen=True)
class StepReport:
    """What a step left behind.

    Attributes:
        step: Number of the step.
        regrow_factor: Share of each group that regrew.
        share: Cost of the sub-model over the cost of the dense model.
        retained_share: The same before regrowth.
        active: Active channels per explored group.
        added: Channels that were inactive before.
        removed: Channels that were active before.
    """

    step: int
    regrow_factor: float
    share: float
    retained_share: float
    active: dict[str, int]
    added: int
    removed: int

    def __str__(self):
        return (
            f'Step {self.step}: {self.added} channels returned, '
            f'{self.removed} left; {sum(self.active.values())} are active '
            f'at {self.share:.1%} of the dense cost '
            f'({self.retained_share:.1%} before regrowth).'
        )
