"""The choices of an exploration, checked once.

Frozen: what a run was started with is what its saved state says.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..submodel.executions import EXECUTIONS
from ..values import check_count, check_patterns, is_share, is_whole
from .regrowth import REGROWTHS
from .scores import SCORES


@dataclass(frozen=True)
class ExplorerSettings:
    """How to explore.

    Attributes:
        regrow: Initial regrow factor, a share of each group.
        seed: Decides every random draw.
        execution: A key of `EXECUTIONS`: 'masked' keeps full shapes with
            zeros, 'compact' cuts the model narrow, so that training costs
            what the sub-model costs.
        scope: Patterns of module paths to explore; None: all that is free.
        exclude: Patterns to leave at full width.
        divisor: Active positions are multiples of it where possible.
        floor: Least share of each group; None: half of the uniform share.
        score: A key of `SCORES`; the default is safe where some norms start
            at 0 and others do not.
        regrowth: A key of `REGROWTHS`.
    """

    regrow: float = 0.3
    seed: int = 0
    execution: str = 'masked'
    scope: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    divisor: int = 1
    floor: float | None = None
    score: str = 'scale'
    regrowth: str = 'importance'

    def __post_init__(self):
        for name in ('scope', 'exclude'):
            value = getattr(self, name)
            value = (value,) if isinstance(value, str) else value
            check_patterns(name, value)
            object.__setattr__(self, name, value and tuple(value))
        SCORES.look_up(self.score)
        REGROWTHS.look_up(self.regrowth)
        EXECUTIONS.look_up(self.execution)
        for name in ('regrow', 'floor'):
            share = getattr(self, name)
            if not (is_share(share) or (name == 'floor' and share is None)):
                raise ValueError(
                    f'{name}={share!r} is not a share of a channel group; '
                    'write a number between 0 and 1.'
                )
        check_count('divisor', self.divisor, example=8)
        if not is_whole(self.seed):
            raise ValueError(
                f'seed={self.seed!r} must be a whole number, such as 0.'
            )
