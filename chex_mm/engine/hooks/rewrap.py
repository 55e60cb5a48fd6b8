"""New wrappers around a model whose tensors have changed their sizes.

What holds on to sizes (DDP's gradient buckets, compiled code, the list of an
averaged model) is made anew; the model itself stays the same object.
"""

from __future__ import annotations

import gc

import torch
from mmengine.model import BaseAveragedModel, is_model_wrapper
from mmengine.runner import Runner


def rewrap_model(runner: Runner) -> None:
    """Wraps and compiles the bare model as the Runner did at first."""
    if runner.cfg.get('compile'):
        # Else every size would count as one more version of the same code,
        # of which torch compiles a few and then none any more.
        torch.compiler.reset()
    if not is_model_wrapper(runner.model):
        return
    bare = runner.model.module
    runner.model = None
    # The old wrapper hooks into the backward pass until it is gone, and it is
    # part of reference cycles.
    gc.collect()
    runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), bare)
    runner._maybe_compile('train_step')


def refresh_average(average: BaseAveragedModel) -> None:
    """Makes an averaged model average the tensors it has now."""
    if average.update_buffers:
        average.avg_parameters = average.module.state_dict()
