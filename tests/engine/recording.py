"""The two calls by which a run records its history, as a hook of their own."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from chex_mm.engine.hooks.history import History

from .toy_runs import hook_of


@HOOKS.register_module()
class RecordHistory(Hook):
    """Records after every exploration step of CHEXHook."""

    priority = 56  # after CHEXHook

    def before_train(self, runner):
        hook = hook_of(runner)
        self.history = History(
            runner.work_dir, hook.explorer, hook.schedule, runner.max_iters
        )

    def after_train_iter(self, runner, **_):
        self.history.add(runner.iter + 1)
