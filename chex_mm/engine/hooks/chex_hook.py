"""Exploration inside mmengine's training loop: this hook only says when.

After every optimizer step the model and its averaged copy are the same
sub-model; every checkpoint holds all that a resumed run needs.
"""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner
from mmengine.utils import apply_to
from torch import is_tensor

from ...budget.budgets import Budget
from ...budget.scope import select_groups
from ...dispatch.randomness import set_random_state
from ...graph.graph import ChannelGraph
from ...graph.state import graph_from_state
from ...packages.paths import trace_detector, training_batch
from ...strategies.exploration import ChannelExplorer
from ..checkpoint_file import check_kind as check_checkpoint
from ..models.masked_backbone import marked_scopes
from ..session import Session
from . import recipe
from .checkpoint import check_shapes, check_weights
from .claim import Claim
from .going_on import resume_if_asked
from .lock import RunLock
from .replicas import shared_graph
from .resume import (
    RankStates,
    RewoundIterator,
    is_checkpoint_due,
    state_of_rank,
)
from .settings import settings_of
from .training_run import Live, bare_model, check_kind, epoch_length


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
        self.session: Session | None = None
        self._saved: dict | None = None  # of the checkpoint to resume
        self._ranks = RankStates()
        self._lock: RunLock | None = None

    @property
    def explorer(self) -> ChannelExplorer | None:
        """The exploration; None before training."""
        return None if self.session is None else self.session.explorer

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
        for warning in self.settings.warnings():
            runner.logger.warning(f'CHEX: {warning}')
        live = Live.of(runner, self)
        schedule = self.settings.iterations(
            runner.max_iters, epoch_length(runner)
        )
        graph = self._graph(runner, live)
        claim = Claim(runner) if self.settings.verify else None  # still dense
        explorer = self._explorer(runner, live, graph, schedule)
        self.session = Session(runner, live, explorer, claim)
        if self._saved is not None:
            self.session.resume(self._saved)
        self.session.begin()

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
        self.session.after_iteration(runner.optim_wrapper.should_update())
        if is_checkpoint_due(runner, by_epoch=False):
            self._ranks.gather(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Collects what a checkpoint needs of the other ranks."""
        if is_checkpoint_due(runner, by_epoch=True):
            self._ranks.gather(runner)

    def after_train(self, runner: Runner) -> None:
        """Says what the run ends with."""
        self.session.end()

    def after_run(self, runner: Runner) -> None:
        """Writes the report of the whole run, leaves its directory."""
        if self._lock is not None:
            self._lock.release()
        if self.settings.report and self.session is not None:
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
        if self.session is None:
            return
        gradients = self._ranks.gradients(runner)
        self.session.widen(checkpoint, gradients)
        state = dict(
            self.session.state(),
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

    def _graph(self, runner: Runner, live: Live) -> ChannelGraph:
        """The model's channels; when resuming, those of the checkpoint.

        What a pass costs may depend on the weights (proposals), and a resumed
        run must go on with the same costs.
        """
        if self._saved is not None:
            return graph_from_state(self._saved['graph'])
        strict = self.settings.strict
        return shared_graph(
            lambda: trace_detector(live.model, training_batch(runner), strict)
        )

    def _explorer(
        self,
        runner: Runner,
        live: Live,
        graph: ChannelGraph,
        schedule: tuple[int, ...],
    ) -> ChannelExplorer:
        """A fresh exploration of a model whose norms are ready for it."""
        scope = self.settings.scope or marked_scopes(live.model) or None
        self._prepare_norms(runner, live, graph, scope)
        return ChannelExplorer(
            live.model,
            graph,
            self.budget,
            schedule=schedule,
            **self.settings.of_explorer(runner.seed or 0, scope),
        )

    def _prepare_norms(
        self, runner: Runner, live: Live, graph: ChannelGraph, scope
    ) -> None:
        """Checks the norm recipe and starts norms from scratch with it."""
        model = live.model
        names = select_groups(graph, scope, self.settings.exclude)
        groups = [graph.groups[name] for name in names]
        model.train()  # as the loop does next: norm_eval shows only then
        recipe.check_trainable(model, groups)
        for warning in recipe.recipe_warnings(model, groups, live.optimizer):
            runner.logger.warning(f'CHEX: {warning}')
        if self.settings.norm_init is not None and not runner._has_loaded:
            count = recipe.init_norms(model, groups, self.settings.norm_init)
            runner.logger.info(
                f'CHEX starts {count} explored norm layers at '
                f'{self.settings.norm_init} (norm_init).'
            )
