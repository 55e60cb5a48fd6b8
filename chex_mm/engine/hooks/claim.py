"""The claim that masked and narrow model are one, checked while a run trains.

The check is about the masks that are in use, and leaves no trace in the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mmengine.runner import Runner
from torch import nn

from ...dispatch.randomness import fixed_random_state
from ...errors import ChexError
from ...packages import package_in
from ...packages.paths import alone, run_paths, training_batch
from ...strategies.exploration import ChannelExplorer
from ...surgery.copying import copy_of
from .replicas import from_first_rank
from .training_run import bare_model


class Claim:
    """Runs one batch through the masked and the narrow model.

    The first rank does, and all of them stop if it says so.

    Args:
        runner: At the start of its training, the model dense.
    """

    def __init__(self, runner: Runner):
        self.seconds = 0.0  # that all checks have taken
        self._paths: tuple[Callable, ...] = ()

        def look() -> None:
            model = alone(copy_of(bare_model(runner)))
            with fixed_random_state():
                paths = run_paths(model, training_batch(runner))
            self._paths = paths.replayed

        from_first_rank(look, 'run the model')

    def check(self, explorer: ChannelExplorer) -> float:
        """Checks the sub-model of now; returns the seconds that it took.

        Raises:
            ChexError: Names the first operator that differs.
        """
        start = time.perf_counter()
        wrong = from_first_rank(
            lambda: self._verdict(explorer), 'check the sub-model'
        )
        if wrong:
            raise ChexError(
                f'After step {explorer.steps_done} of the exploration: {wrong}'
            )
        seconds = time.perf_counter() - start
        self.seconds += seconds
        return seconds

    def _verdict(self, explorer: ChannelExplorer) -> str:
        try:
            runs = map(_run, self._paths)
            with fixed_random_state():
                explorer.verify(next(runs), tuple(runs))
        except ChexError as error:
            return str(error)
        return ''


def _run(path: Callable) -> Callable:
    """Runs a path in this process, both models on the same regions."""
    shared = None

    def run(model: nn.Module):
        nonlocal shared
        model = alone(model)
        if shared is None:
            shared = package_in(model).shared(path)
        return shared(model)

    return run
