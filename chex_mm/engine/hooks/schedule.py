"""After which iterations of a run an exploration step is due.

A pure function of the run's length and the settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from ...strategies.schedule import fit_steps
from ...values import check_count, is_share, is_whole


@dataclass(frozen=True)
class Schedule:
    """When to explore; the defaults are the paper's, as shares of training.

    Attributes:
        steps: At most this many; short runs get fewer.
        begin: No step before; a share of training if float, else a number
            of epochs (or iterations with `by_epoch=False`).
        end: The structure is fixed from here on; written like `begin`.
        interval: Epochs (iterations) between two steps, instead of `steps`.
        by_epoch: The unit of whole numbers. Default: that of the loop.
    """

    steps: int = 90
    begin: Union[int, float] = 0
    end: Union[int, float] = 0.72
    interval: Union[int, None] = None
    by_epoch: Union[bool, None] = None

    def __post_init__(self):
        check_count('steps', self.steps, example=90)
        if self.interval is not None:
            check_count('interval', self.interval, example=1)
        for name in ('begin', 'end'):
            when = getattr(self, name)
            is_when = is_share(when) or (is_whole(when) and when >= 0)
            if not is_when:
                raise ValueError(
                    f'{name}={when!r} is no time of a run; write a share of '
                    f'it, such as {name}=0.5, or a whole number of epochs '
                    '(of iterations with by_epoch=False).'
                )

    def warnings(self) -> list[str]:
        """What may mean something else than was meant."""
        if is_whole(self.end) and self.end == 1:
            return [
                'end=1 ends exploration after one epoch (one iteration with '
                'by_epoch=False); for the end of training write end=1.0.'
            ]
        return []

    def iterations(
        self, length: int, epoch_length: int | None
    ) -> tuple[int, ...]:
        """Iterations (from 1) after which a step is due.

        Args:
            length: Iterations of the run.
            epoch_length: Iterations of an epoch; None without epochs.
        """
        by_epoch = self.by_epoch
        if by_epoch is None:
            by_epoch = epoch_length is not None
        if by_epoch and epoch_length is None:
            raise ValueError(
                'by_epoch=True, but the training loop counts iterations; '
                'write CHEXHook(by_epoch=False).'
            )
        unit = epoch_length if by_epoch else 1
        begin = _iteration(self.begin, unit, length)
        end = _iteration(self.end, unit, length)
        if not 0 <= begin < end <= length:
            raise ValueError(
                f'Exploration from begin={self.begin} to end={self.end} is '
                f'iteration {begin} to {end} of {length}; begin must come '
                'before end, and end not after the run.'
            )
        if self.interval is None:
            fitted = fit_steps(end - begin, self.steps, end=1.0)
            return tuple(begin + iteration for iteration in fitted)
        first = begin + self.interval * unit
        every = tuple(range(first, end + 1, self.interval * unit))
        if not every:
            raise ValueError(
                f'No exploration step fits: interval={self.interval} is '
                f'longer than begin={self.begin} to end={self.end} '
                f'({end - begin} iterations).'
            )
        return every


def _iteration(when: int | float, unit: int, length: int) -> int:
    if isinstance(when, float):
        return round(when * length)
    return when * unit
