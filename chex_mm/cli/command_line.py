"""What the command lines of `tools/` share, from a config to its Runner.

Whatever of it is wrong is refused before anything else happens.
"""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger, print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from ..engine.checkpoint_file import load
from ..errors import one_line
from ..packages import load_packages
from ..registry import is_installed
from .command_errors import CommandError, run_command

__all__ = ['CommandError', 'run_command']  # what every tool takes from here


def load_config(name: str, overrides: dict | None = None) -> Config:
    """Reads a complete config.

    Args:
        name: A path, or `mmdet::retinanet/retinanet_r50_fpn_1x_coco.py` for
            a config that came with an installed package.
        overrides: Dotted keys and their values, as of `--cfg-options`.

    Raises:
        CommandError: There is no such config, or it describes no model.
    """
    path = _packaged_config(name) if '::' in name else Path(name)
    if not path.is_file():
        raise CommandError(f'there is no config file {name!r}.')
    try:
        config = Config.fromfile(path)
    except ModuleNotFoundError as error:  # of a _base_ or custom_imports
        package = str(error.name or error).split()[0]
        raise CommandError(
            f'{name} cannot be read: {error}. {how_to_install(package)}'
        ) from error
    except (AssertionError, OSError, SyntaxError) as error:
        raise CommandError(f'{name} cannot be read: {error}') from error
    except Exception as error:  # any of the config's own code
        raise CommandError(
            f'{name} cannot be read: {type(error).__name__}: '
            f'{one_line(error)} (--debug shows where)'
        ) from error
    try:
        config.merge_from_dict(overrides or {})
    except (KeyError, TypeError) as error:
        raise CommandError(f'--cfg-options: {error}') from error
    if 'model' not in config:
        raise CommandError(
            f'{name} has no `model`; is it a part that others take as _base_?'
        )
    return config


def _packaged_config(name: str) -> Path:
    """Where an installed package keeps a config; never installs anything."""
    package, _, inner = name.partition('::')
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise CommandError(
            f'{name!r} asks for a config of the package {package!r}, which '
            f'is not installed. {how_to_install(package)}'
        )
    configs = configs_of(package)
    path = configs / inner
    if not path.is_file():
        known = [str(p.relative_to(configs)) for p in configs.rglob('*.py')]
        near = get_close_matches(inner, known, n=1)
        hint = f' Did you mean {package}::{near[0]}?' if near else ''
        raise CommandError(f'{package} has no config {inner!r}.{hint}')
    return path


def configs_of(package: str) -> Path:
    """Where an installed package keeps its configs."""
    return Path(find_spec(package).origin).parent / '.mim' / 'configs'


def how_to_install(package: str) -> str:
    """The command that gives an environment a package it lacks."""
    known = load_packages().get(package)
    requirement = known.requirement if known else package
    return f"Install it: pip install '{requirement}'"


def quiet() -> None:
    """Keeps what libraries tell about building a model off the screen."""
    MMLogger.get_current_instance().setLevel('WARNING')


def use_scope(config: Config) -> None:
    """Makes the registries build from the package the config is written for.

    Raises:
        CommandError: That package is not installed.
    """
    scope = config.get('default_scope') or 'mmengine'
    if not (str(scope).isidentifier() and is_installed(scope)):
        close = get_close_matches(str(scope), load_packages(), 1)
        cure = (
            f"Write default_scope = '{close[0]}'."
            if close
            else how_to_install(scope)
        )
        raise CommandError(
            f'the config has default_scope={scope!r}, and there is no '
            f'package of that name. {cure}'
        )
    init_default_scope(scope)


def prepare_config(arguments: Namespace) -> Config:
    """The config that the arguments of `add_run_arguments` ask for."""
    _check_launcher(arguments.launcher)
    # mmengine's own launcher reads the rank from the environment only.
    os.environ.setdefault('LOCAL_RANK', str(arguments.local_rank))
    config = load_config(arguments.config, arguments.cfg_options)
    config.launcher = arguments.launcher
    default = os.path.join('work_dirs', Path(arguments.config).stem)
    config.work_dir = (
        arguments.work_dir or config.get('work_dir', None) or default
    )
    use_scope(config)
    return config


def _check_launcher(name: str) -> None:
    """Refuses a launcher that has not started this process."""
    set_by_it = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID'}.get(name)
    if set_by_it and set_by_it not in os.environ:
        raise CommandError(
            f'--launcher {name} is for a process that it has started; call '
            'tools/dist_train.sh, tools/dist_test.sh or tools/slurm_train.sh '
            'instead.'
        )


def find_checkpoint(name: str) -> str:
    """`name` itself if it is a file or an address, refused otherwise."""
    if '://' not in name and not os.path.isfile(name):
        raise CommandError(f'there is no checkpoint file {name!r}.')
    return name


def build_runner(config: Config) -> Runner:
    """The Runner of a config, of its own `runner_type` if it has one."""
    if config.launcher == 'pytorch' and not torch.cuda.is_available():
        _start_processes_on_cpu(config)
    if 'runner_type' in config:
        return RUNNERS.build(config)
    return Runner.from_cfg(config)


def _start_processes_on_cpu(config: Config) -> None:
    """Does what mmengine's launcher cannot do without a CUDA device."""
    torch.distributed.init_process_group('gloo')
    if config.get('sync_bn'):
        print_log(
            'sync_bn is left out: torch synchronises statistics on GPUs only, '
            'so each process has its own.',
            logger='current',
            level=logging.WARNING,
        )
        config.sync_bn = None
    config.setdefault(
        'model_wrapper_cfg',
        dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=config.get('find_unused_parameters', False),
        ),
    )


def check_weights(model: nn.Module, checkpoint: str) -> None:
    """Loads `checkpoint` into `model` and refuses one that does not fill it.

    mmengine only warns about tensors that are absent or of another shape,
    and goes on to evaluate a half-initialised model.
    """
    loaded = load(checkpoint)
    model = model.module if is_model_wrapper(model) else model
    try:
        result = model.load_state_dict(
            loaded.get('state_dict', loaded), strict=False
        )
    except RuntimeError as error:
        raise CommandError(_misfit(checkpoint, error)) from error
    if result.missing_keys:
        raise CommandError(
            f'{checkpoint} lacks {len(result.missing_keys)} tensors of the '
            f'model, {result.missing_keys[0]!r} first; is it a checkpoint of '
            'another config?'
        )


def _misfit(checkpoint: str, error: RuntimeError) -> str:
    """One line out of torch's list of size mismatches."""
    first = str(error).splitlines()[1].strip()
    return (
        f'{checkpoint} does not fit the model: {first} Is it a checkpoint of '
        'another config?'
    )
