"""What exploration needs to know of a Runner: model, copies, length.

A run that cannot be explored is refused here.
"""

from __future__ import annotations

from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseAveragedModel, is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def bare_model(runner: Runner) -> nn.Module:
    """The model without a wrapper for distributed training."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def check_runner(runner: Runner) -> None:
    """Refuses what splits parameters or has several optimizers."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapperDict) or not isinstance(
        wrapper, OptimWrapper
    ):
        raise ValueError(
            f'CHEXHook needs one optimizer, this run has a '
            f'{type(wrapper).__name__}. Write optim_wrapper = '
            "dict(type='OptimWrapper', optimizer=dict(...))."
        )
    if is_model_wrapper(runner.model) and not isinstance(
        runner.model, DistributedDataParallel
    ):
        raise ValueError(
            f'CHEXHook cannot explore a model in a '
            f'{type(runner.model).__name__}, which splits its parameters. '
            "Write model_wrapper_cfg = dict(type='MMDistributedDataParallel')"
            ' or leave it out.'
        )


def averaged_models(
    runner: Runner, hook: Hook
) -> tuple[BaseAveragedModel, ...]:
    """The averaged models of hooks that must run before this one."""
    averages = []
    for position, other in enumerate(runner.hooks):
        if isinstance(other, EMAHook):
            if position > runner.hooks.index(hook):
                raise ValueError(
                    f'{type(other).__name__} runs after CHEXHook and would '
                    'average channels that are inactive. Write '
                    f"dict(type='{type(other).__name__}', ..., priority=49)."
                )
            averages.append(other.ema_model)
    return tuple(averages)


def epoch_length(runner: Runner) -> int | None:
    """Iterations of an epoch; None in a loop without epochs."""
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return len(runner.train_dataloader)
    return None
