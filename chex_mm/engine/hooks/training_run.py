"""What exploration needs to know of a Runner: model, copies, length.

A run that cannot be explored is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseAveragedModel, is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

# What the classes of wrappers and strategies that split parameters are called.
SPLITTING = ('FullyShardedDataParallel', 'FSDP', 'DeepSpeed', 'ColossalAI')


def bare_model(runner: Runner) -> nn.Module:
    """The model without a wrapper for distributed training."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def check_kind(runner: Runner) -> None:
    """Refuses a runner whose strategy decides where parameters are."""
    if not isinstance(runner, Runner):
        raise _has_strategy(type(runner).__name__)


def check_config(config: Mapping) -> None:
    """Refuses a config with CHEXHook that no run could explore.

    Before a Runner is built: a strategy builds models and processes.
    """
    hooks = [_type(hook) for hook in config.get('custom_hooks') or ()]
    if 'CHEXHook' not in hooks:
        return
    if _type(config.get('runner_type', '')) == 'FlexibleRunner':
        raise _has_strategy('FlexibleRunner')
    if config.get('strategy'):
        raise _has_strategy(_type(config['strategy']))
    wrapper = _type(config.get('model_wrapper_cfg') or {})
    if any(kind in wrapper for kind in SPLITTING):
        raise _splits_parameters(wrapper)
    optimizer = _type(config.get('optim_wrapper') or {})
    if any(kind in optimizer for kind in SPLITTING):
        raise _has_strategy(optimizer)


def _type(part: Mapping) -> str:
    kind = part.get('type', '') if isinstance(part, Mapping) else part
    name = kind if isinstance(kind, str) else type(kind).__name__
    return getattr(kind, '__name__', name).rpartition('.')[2]


def _splits_parameters(wrapper: str) -> ValueError:
    return ValueError(
        f'CHEXHook cannot explore a model in a {wrapper}, which splits its '
        "parameters. Write model_wrapper_cfg = dict(type='"
        "MMDistributedDataParallel') or leave it out."
    )


def _has_strategy(name: str) -> ValueError:
    return ValueError(
        f'CHEXHook cannot explore a model under {name}: a strategy (FSDP, '
        'DeepSpeed, ColossalAI) splits parameters or owns the optimizer. '
        'Leave runner_type and strategy out of the config, and write '
        "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(...))."
    )


@dataclass(frozen=True, eq=False)
class Live:
    """What a run trains.

    Attributes:
        model: Without a wrapper.
        averages: The averaged models of hooks that run before exploration.
        optimizer: Of all parameters.
    """

    model: nn.Module
    averages: tuple[BaseAveragedModel, ...]
    optimizer: Optimizer

    @classmethod
    def of(cls, runner: Runner, hook: Hook) -> Live:
        """What a runner trains, seen from one of its hooks.

        Raises:
            ValueError: It cannot be explored; says what to write instead.
        """
        check_runner(runner)
        return cls(
            bare_model(runner),
            averaged_models(runner, hook),
            runner.optim_wrapper.optimizer,
        )

    @property
    def copies(self) -> tuple[nn.Module, ...]:
        """The averaged copies of the model."""
        return tuple(average.module for average in self.averages)


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
        raise _splits_parameters(type(runner.model).__name__)


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
