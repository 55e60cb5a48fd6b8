"""Exploration inside mmengine's training loop.

After every optimizer step the model and its averaged copy are the same
sub-model; every checkpoint holds all that a resumed run needs.
"""

from __future__ import annotations

import time
from bisect import bisect_right

from mmengine.hooks import Hook
from mmengine.model import BaseAveragedModel
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner
from mmengine.utils import apply_to
from torch import is_tensor, nn

from ...budget.budgets import Budget
from ...budget.scope import select_groups
from ...dispatch.randomness import set_random_state
from ...graph.graph import ChannelGraph
from ...graph.state import graph_from_state, graph_state
from ...packages.paths import trace_detector, training_batch
from ...strategies.exploration import ChannelExplorer
from ..checkpoint_file import check_kind as check_checkpoint
from ..models.masked_backbone import marked_scopes, write_masks
from . import recipe, report
from .checkpoint import check_shapes, check_weights
from .claim import Claim
from .compute import TrainingCompute, flops_share
from .going_on import resume_if_asked
from .history import History
from .lock import RunLock
from .replicas import check_replicas, shared_graph, shared_plan
from .resume import (
    RankStates,
    RewoundIterator,
    gradients_of_rank,
    is_checkpoint_due,
    set_gradients,
    state_of_rank,
)
from .rewrap import refresh_average, rewrap_model
from .settings import settings_of
from .training_run import (
    averaged_models,
    bare_model,
    check_kind,
    check_runner,
    epoch_length,
)
from .trial import try_checkpoint


@HOOKS.register_module()
class CHEXHook(Hook):
    """Prunes and regrows channels during an ordinary training run.

    Args:
        budget: What the final sub-model may cost, as
            `dict(type='flops', keep=0.5)`; see `Budget`.
        **settings: See `Settings` and `Schedule`.
    """

    priority = 55  # after EMAHook, before LoggerHook and CheckpointHook

    def __init__(self, budget: dict, **settings):
        self.budget = Budget(**budget)
        self.settings = settings_of(settings)
        self.explorer: ChannelExplorer | None = None
        self.schedule: tuple[int, ...] = ()
        self.compute = TrainingCompute()
        self._flops = 1.0  # share of the dense model's that the sub-model has
        self._averages: tuple[BaseAveragedModel, ...] = ()
        self._saved: dict | None = None  # of the checkpoint to resume
        self._ranks = RankStates()
        self._history: History | None = None
        self._claim: Claim | None = None
        self._lock: RunLock | None = None

    def before_run(self, runner: Runner) -> None:
        """Makes the work directory this run's, finds what to resume."""
        if not isinstance(runner._train_loop, BaseLoop):
            return  # it validates or tests
        check_kind(runner)
        self._lock = RunLock(runner.work_dir)
        self._lock.take()
        resume_if_asked(runner)

    def before_train(self, runner: Runner) -> None:
        """Traces the model and makes, or resumes, the sub-model."""
        check_runner(runner)
        self._averages = averaged_models(runner, self)
        for warning in self.settings.warnings():
            runner.logger.warning(f'CHEX: {warning}')
        self.schedule = self.settings.iterations(
            runner.max_iters, epoch_length(runner)
        )
        model = bare_model(runner)
        graph = self._graph(runner, model)
        self._prepare_norms(runner, model, graph)
        if self.settings.verify:
            self._claim = Claim(runner)
        self.explorer = ChannelExplorer(
            model,
            graph,
            self.budget,
            total_steps=len(self.schedule),
            scope=self._scope(model),
            **self._explorer_settings(runner),
        )
        if self._saved is not None:
            self._resume(runner, model)
        check_replicas(self.explorer)
        self._adopt(runner)
        self._write_masks()
        try_checkpoint(runner)
        self._history = History(
            runner.work_dir, self.explorer, self.schedule, runner.max_iters
        )
        runner.logger.info(report.start_summary(self.explorer, self.schedule))
        self._check_claim(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Gives a resumed run its random states back, see `resume`."""
        if self._saved is None:
            return
        state, self._saved = state_of_rank(self._saved['random']), None
        if state is None:
            return
        if hasattr(runner.train_loop, 'dataloader_iterator'):
            runner.train_loop.dataloader_iterator = RewoundIterator(
                runner.train_loop, state
            )
        else:
            set_random_state(state)

    def before_train_iter(self, runner: Runner, **_) -> None:
        """Drops what was gathered for a checkpoint that is written."""
        self._ranks.forget()

    def after_train_iter(self, runner: Runner, **_) -> None:
        """Keeps the sub-model after an optimizer step, changes it if due."""
        self._count(runner)
        if runner.optim_wrapper.should_update():
            self._enforce()
            due = bisect_right(self.schedule, runner.iter + 1)
            if self.explorer.steps_done < due:
                self._step(runner)
        if is_checkpoint_due(runner, by_epoch=False):
            self._ranks.gather(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Collects what a checkpoint needs of the other ranks."""
        if is_checkpoint_due(runner, by_epoch=True):
            self._ranks.gather(runner)

    def after_train(self, runner: Runner) -> None:
        """Says what the run ends with."""
        runner.logger.info(
            report.end_summary(self.explorer, self.compute.share)
        )

    def after_run(self, runner: Runner) -> None:
        """Writes the report of the whole run, leaves its directory."""
        if self._lock is not None:
            self._lock.release()
        if self.settings.report and self.explorer is not None:
            # Here, because it draws, which few who import this need.
            from ...report import report_at_end

            report_at_end(runner)

    def before_val(self, runner: Runner) -> None:
        """Keeps the random states: validation must not change a run."""
        self._ranks.gather(runner)

    def after_val(self, runner: Runner) -> None:
        """Goes on as if validation had drawn nothing."""
        self._ranks.give_back()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Adds the state of the exploration, makes the rest dense."""
        if self.explorer is None:
            return
        gradients = self._ranks.gradients(runner)
        self._widen(runner, checkpoint, gradients)
        state = dict(
            explorer=self.explorer.state_dict(),
            graph=graph_state(self.explorer.graph),
            schedule=list(self.schedule),
            compute=self.compute.state_dict(),
            random=self._ranks.random(),
            gradients=gradients,
        )
        checkpoint['chex'] = apply_to(state, is_tensor, lambda t: t.cpu())

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Takes the state of the exploration, if this run is to resume it."""
        check_checkpoint(checkpoint, 'The checkpoint to load')
        if not runner._resume:
            return
        if 'chex' not in checkpoint:
            raise ValueError(
                'The checkpoint to resume has no exploration state '
                "('chex'): it was not written by a run with CHEXHook. Write "
                'load_from=... and resume=False to start exploring from its '
                'weights.'
            )
        check_shapes(checkpoint['chex'], bare_model(runner))
        check_weights(checkpoint['state_dict'], bare_model(runner))
        if 'optimizer' not in checkpoint:
            runner.logger.warning(
                'CHEX: the checkpoint to resume has no state of the '
                'optimizer, as the best weights have none: this is not the '
                'run that was interrupted.'
            )
        self._saved = checkpoint['chex']

    def _graph(self, runner: Runner, model: nn.Module) -> ChannelGraph:
        """The model's channels; when resuming, those of the checkpoint.

        What a pass costs may depend on the weights (proposals), and a resumed
        run must go on with the same costs.
        """
        if self._saved is not None:
            return graph_from_state(self._saved['graph'])
        batch = training_batch(runner)
        return shared_graph(trace_detector(model, batch, self.settings.strict))

    def _prepare_norms(
        self, runner: Runner, model: nn.Module, graph: ChannelGraph
    ) -> None:
        """Checks the norm recipe and starts norms from scratch with it."""
        names = select_groups(graph, self._scope(model), self.settings.exclude)
        groups = [graph.groups[name] for name in names]
        model.train()  # as the loop does next: norm_eval shows only then
        recipe.check_trainable(model, groups)
        for warning in recipe.recipe_warnings(
            model, groups, runner.optim_wrapper.optimizer
        ):
            runner.logger.warning(f'CHEX: {warning}')
        if self.settings.norm_init is not None and not runner._has_loaded:
            count = recipe.init_norms(model, groups, self.settings.norm_init)
            runner.logger.info(
                f'CHEX starts {count} explored norm layers at '
                f'{self.settings.norm_init} (norm_init).'
            )

    def _scope(self, model: nn.Module) -> tuple[str, ...] | None:
        return self.settings.scope or marked_scopes(model) or None

    def _explorer_settings(self, runner: Runner) -> dict:
        regrow = dict(self.settings.regrow)
        seed = self.settings.seed
        settings = dict(
            regrow=regrow.pop('initial', 0.3),
            seed=(runner.seed or 0) if seed is None else seed,
            exclude=self.settings.exclude,
            divisor=self.settings.divisor,
            floor=self.settings.floor,
            score=self.settings.score,
            execution=self.settings.execution,
        )
        if 'policy' in regrow:
            settings['regrowth'] = regrow.pop('policy')
        if regrow:
            raise ValueError(
                f'CHEXHook(regrow=...) has no {", ".join(regrow)}; it takes '
                "'initial' and 'policy'."
            )
        return settings

    def _resume(self, runner: Runner, model: nn.Module) -> None:
        saved = tuple(self._saved['schedule'])
        if saved != self.schedule:
            raise ValueError(
                'The run to resume explores after iterations '
                f'{_range(saved)}, this one after {_range(self.schedule)}. '
                'Resume with the same length, batch size and CHEXHook '
                'settings, or start anew with load_from=... and '
                'resume=False.'
            )
        self.explorer.load_state_dict(self._saved['explorer'])
        self.compute.load_state_dict(self._saved['compute'])
        gradients = gradients_of_rank(self._saved['gradients'])
        self.explorer.sub_model.hold_state(gradients)
        set_gradients(model, gradients)

    def _adopt(self, runner: Runner) -> None:
        """Makes what was built or loaded dense fit the sub-model."""
        sub_model = self.explorer.sub_model
        for copy in self._copies:
            sub_model.adopt(copy)
        sub_model.adopt_optimizer(runner.optim_wrapper.optimizer)
        self._follow_sizes(runner)

    def _follow_sizes(self, runner: Runner) -> None:
        """Makes anew what follows from the sizes."""
        self._flops = flops_share(self.explorer)
        if self.explorer.sub_model.execution.is_narrow:
            rewrap_model(runner)
            for average in self._averages:
                refresh_average(average)

    def _widen(
        self, runner: Runner, checkpoint: dict, gradients: list[dict]
    ) -> None:
        """Gives all that a checkpoint holds its dense shapes."""
        sub_model = self.explorer.sub_model
        for state in gradients:
            sub_model.widen_state(state)
        sub_model.widen_state(checkpoint['state_dict'])
        sub_model.widen_state(
            checkpoint.get('ema_state_dict', {}), prefix='module.'
        )
        if 'optimizer' in checkpoint:
            sub_model.widen_optimizer_state(
                checkpoint['optimizer'], runner.optim_wrapper.optimizer
            )

    def _count(self, runner: Runner) -> None:
        """Counts an iteration's compute and tells the log."""
        is_narrow = self.explorer.sub_model.execution.is_narrow
        self.compute.add(self._flops if is_narrow else 1.0)
        for name, value in (
            ('sub_model_flops', self._flops),
            ('compute_spent', self.compute.share),
        ):
            runner.message_hub.update_scalar(f'train/{name}', value)

    def _step(self, runner: Runner) -> None:
        start = time.perf_counter()
        plan = shared_plan(self.explorer)
        done = self.explorer.apply(
            plan, runner.optim_wrapper.optimizer, self._copies
        )
        check_replicas(self.explorer)
        self._follow_sizes(runner)
        self._write_masks()
        seconds = time.perf_counter() - start
        report.report_step(runner, self.explorer, plan, done, seconds)
        self._history.add(runner.iter + 1, seconds)
        self._check_claim(runner)

    def _check_claim(self, runner: Runner) -> None:
        if self._claim is not None:
            seconds = self._claim.check(self.explorer)
            runner.logger.info(
                'CHEX: the masked and the narrow model agree '
                f'({seconds:.1f} s, {self._claim.seconds:.1f} s in all).'
            )

    @property
    def _copies(self) -> tuple[nn.Module, ...]:
        return tuple(average.module for average in self._averages)

    def _enforce(self) -> None:
        self.explorer.enforce()
        for copy in self._copies:
            self.explorer.enforce(copy)

    def _write_masks(self) -> None:
        for model in (self.explorer.model, *self._copies):
            write_masks(model, self.explorer.keep)


def _range(schedule: tuple[int, ...]) -> str:
    return f'{schedule[0]} to {schedule[-1]} ({len(schedule)} steps)'
