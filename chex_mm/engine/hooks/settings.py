"""What a config may say to `CHEXHook`, with the defaults of the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Union

from ...values import check_count, check_patterns, is_number
from .schedule import Schedule


@dataclass(frozen=True)
class Settings(Schedule):
    """What `CHEXHook` takes beside its budget.

    Attributes:
        regrow: `initial`, the share of each group that regrows at first,
            and optionally `policy`, a key of `REGROWTHS`.
        scope: Patterns of module paths to explore; default: what
            `MaskedBackbone` built, else all that is not pinned.
        exclude: Patterns to leave at full width.
        divisor: Widths are multiples of it where possible.
        floor: Least share of each group; default: half of the uniform one.
        score: How channels are ranked over all groups, a key of `SCORES`.
            The mean over norms needs norms that start alike (`norm_init`).
        execution: 'masked': full shapes with zeros where channels are
            inactive; 'compact': the live model is cut narrow, so that
            training costs what the sub-model costs.
        norm_init: Where explored norm layers start in training from
            scratch; None leaves them alone.
        seed: Decides every random draw; default: the runner's.
        strict: Refuse a model with operators that have no rule.
        verify: Run one batch through the masked and the narrow model at the
            start and after every exploration step, and stop if they differ.
        report: Whether the end of a run writes `report/report.html` into its
            work directory, as `tools/report.py` does.
    """

    regrow: dict = field(default_factory=lambda: dict(initial=0.3))
    scope: Union[list, None] = None
    exclude: Union[list, None] = None
    divisor: int = 8
    floor: Union[float, None] = None
    score: str = 'mean_scale'
    execution: str = 'masked'
    norm_init: Union[float, None] = 0.5
    seed: Union[int, None] = None
    strict: bool = False
    verify: bool = True
    report: bool = True

    def __post_init__(self):
        super().__post_init__()
        for name in ('scope', 'exclude'):
            patterns = getattr(self, name)
            if isinstance(patterns, str):
                raise ValueError(
                    f'CHEXHook({name}={patterns!r}) must be a list; write '
                    f'{name}=[{patterns!r}].'
                )
            check_patterns(name, patterns)
        if not isinstance(self.regrow, Mapping):
            raise ValueError(
                f'regrow={self.regrow!r} must be a dict, such as '
                'regrow=dict(initial=0.3).'
            )
        check_count('divisor', self.divisor, example=8)
        if not (self.norm_init is None or is_number(self.norm_init)):
            raise ValueError(
                f'norm_init={self.norm_init!r} must be a number, such as 0.5, '
                'or None.'
            )

    def of_explorer(self, seed: int, scope: Sequence[str] | None) -> dict:
        """The settings of `ChannelExplorer` that follow.

        Args:
            seed: Of the run, where none is set.
            scope: What is explored, where the model says so.

        Raises:
            ValueError: `regrow` has a key that nobody reads.
        """
        regrow = dict(self.regrow)
        settings = dict(
            regrow=regrow.pop('initial', 0.3),
            seed=seed if self.seed is None else self.seed,
            scope=scope,
            exclude=self.exclude,
            divisor=self.divisor,
            floor=self.floor,
            score=self.score,
            execution=self.execution,
        )
        if 'policy' in regrow:
            settings['regrowth'] = regrow.pop('policy')
        if regrow:
            raise ValueError(
                f'CHEXHook(regrow=...) has no {", ".join(regrow)}; it takes '
                "'initial' and 'policy'."
            )
        return settings


def settings_of(given: Mapping[str, Any]) -> Settings:
    """What a config says, refused if it says what nobody would read."""
    known = [each.name for each in fields(Settings)]
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f' Did you mean {near[0]}=...?' if near else ''
            raise ValueError(
                f'CHEXHook has no argument {name!r}.{hint} It takes: budget, '
                f'{", ".join(known)}.'
            )
    return Settings(**given)
