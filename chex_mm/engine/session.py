"""An exploration inside of a run: what it holds, and what follows a step.

It is told when an iteration is over and when a checkpoint is written; the
hook alone knows of the points in mmengine's loop where that is so.
"""

from __future__ import annotations

import time

from mmengine.runner import Runner

from ..graph.state import graph_state
from ..strategies.exploration import ChannelExplorer
from ..strategies.plan import StepReport
from .hooks import report
from .hooks.claim import Claim
from .hooks.compute import TrainingCompute, flops_share
from .hooks.history import History
from .hooks.replicas import check_replicas, shared_plan
from .hooks.resume import gradients_of_rank, set_gradients
from .hooks.rewrap import refresh_average, rewrap_model
from .hooks.training_run import Live
from .hooks.trial import try_checkpoint
from .models.masked_backbone import write_masks


class Session:
    """An exploration that is under way.

    Args:
        runner: Its logger, its messages and its visualizer are told.
        live: What it trains.
        explorer: With the initial sub-model.
        claim: What checks the masks in use, if anything does.
    """

    def __init__(
        self,
        runner: Runner,
        live: Live,
        explorer: ChannelExplorer,
        claim: Claim | None,
    ):
        self.runner, self.live, self.explorer = runner, live, explorer
        self.compute = TrainingCompute()
        self._claim = claim
        self._flops = 1.0  # share of the dense model's that the sub-model has
        self._history: History | None = None

    def resume(self, saved: dict) -> None:
        """Goes back to where a checkpoint was written.

        Raises:
            ValueError: It belongs to another run.
        """
        schedule = tuple(saved['schedule'])
        if schedule != self.explorer.schedule:
            raise ValueError(
                'The run to resume explores after iterations '
                f'{_range(schedule)}, this one after '
                f'{_range(self.explorer.schedule)}. Resume with the same '
                'length, batch size and CHEXHook settings, or start anew '
                'with load_from=... and resume=False.'
            )
        self.explorer.load_state_dict(saved['explorer'])
        self.compute.load_state_dict(saved['compute'])
        gradients = gradients_of_rank(saved['gradients'])
        self.explorer.sub_model.hold_state(gradients)
        set_gradients(self.live.model, gradients)

    def begin(self) -> None:
        """Makes what was built or loaded dense fit the sub-model, says so."""
        check_replicas(self.explorer)
        sub_model = self.explorer.sub_model
        for copy in self.live.copies:
            sub_model.adopt(copy)
        sub_model.adopt_optimizer(self.live.optimizer)
        self._follow()
        try_checkpoint(self.runner)
        self._history = History(
            self.runner.work_dir, self.explorer, self.runner.max_iters
        )
        self.runner.logger.info(report.start_summary(self.explorer))
        self._check_claim()

    def after_iteration(self, is_update: bool) -> None:
        """Counts it; after an optimizer step keeps or changes the sub-model.

        Args:
            is_update: Whether the optimizer has made a step.
        """
        self._count()
        if is_update:
            start = time.perf_counter()
            done = self.explorer.after_step(
                self.runner.iter + 1,
                self.live.optimizer,
                self.live.copies,
                make_plan=shared_plan,
            )
            if done is not None:
                self._after_change(done, start)

    def end(self) -> None:
        """Says what the run ends with."""
        self.runner.logger.info(
            report.end_summary(self.explorer, self.compute.share)
        )

    def state(self) -> dict:
        """What a checkpoint holds of it."""
        return dict(
            explorer=self.explorer.state_dict(),
            graph=graph_state(self.explorer.graph),
            schedule=list(self.explorer.schedule),
            compute=self.compute.state_dict(),
        )

    def widen(self, checkpoint: dict, gradients: list[dict]) -> None:
        """Gives all that a checkpoint holds its dense shapes, in place."""
        sub_model = self.explorer.sub_model
        for state in gradients:
            sub_model.widen_state(state)
        sub_model.widen_state(checkpoint['state_dict'])
        sub_model.widen_state(
            checkpoint.get('ema_state_dict', {}), prefix='module.'
        )
        if 'optimizer' in checkpoint:
            sub_model.widen_optimizer_state(
                checkpoint['optimizer'], self.live.optimizer
            )

    def _count(self) -> None:
        """Counts an iteration's compute and tells the log."""
        is_narrow = self.explorer.sub_model.execution.is_narrow
        self.compute.add(self._flops if is_narrow else 1.0)
        for name, value in (
            ('sub_model_flops', self._flops),
            ('compute_spent', self.compute.share),
        ):
            self.runner.message_hub.update_scalar(f'train/{name}', value)

    def _after_change(self, done: StepReport, start: float) -> None:
        check_replicas(self.explorer)
        self._follow()
        seconds = time.perf_counter() - start
        report.report_step(self.runner, self.explorer, done, seconds)
        self._history.add(self.runner.iter + 1, seconds)
        self._check_claim()

    def _follow(self) -> None:
        """Makes anew what follows from masks and sizes."""
        self._flops = flops_share(self.explorer)
        if self.explorer.sub_model.execution.is_narrow:
            rewrap_model(self.runner)
            for average in self.live.averages:
                refresh_average(average)
        for model in (self.explorer.model, *self.live.copies):
            write_masks(model, self.explorer.keep)

    def _check_claim(self) -> None:
        if self._claim is not None:
            seconds = self._claim.check(self.explorer)
            self.runner.logger.info(
                'CHEX: the masked and the narrow model agree '
                f'({seconds:.1f} s, {self._claim.seconds:.1f} s in all).'
            )


def _range(schedule: tuple[int, ...]) -> str:
    return f'{schedule[0]} to {schedule[-1]} ({len(schedule)} steps)'
