"""Where a run goes on that was told to go on from its latest checkpoint.

All ranks go on from what the first one finds; if it finds nothing, the run
starts anew, so that a job that is restarted over and over gets somewhere.
"""

from __future__ import annotations

from mmengine.dist import broadcast_object_list
from mmengine.runner import Runner

from ..latest_checkpoint import latest_checkpoint


def resume_latest(runner: Runner) -> None:
    """Tells a runner what to resume, before it loads anything."""
    found = [latest_checkpoint(runner.work_dir)]
    broadcast_object_list(found)
    runner._resume = found[0] is not None
    if runner._resume:
        runner._load_from = found[0]
        return
    runner.logger.warning(
        f'There is no checkpoint to resume in {runner.work_dir}; training '
        'starts anew.'
    )


def resume_if_asked(runner: Runner) -> None:
    """Does so where mmengine would look for the latest checkpoint itself.

    It takes what it noted for granted, whether that is there or not.
    """
    if runner._resume and runner._load_from is None:
        resume_latest(runner)
