"""Where architectures come from: configs of OpenMMLab, torchvision's models.

A source names the architectures of a package and makes one of them ready to
run; everything after that is the same for all.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import nn

from chex_mm.adopt.analysis import draw_vectors
from chex_mm.cli.command_line import configs_of, load_config, use_scope
from chex_mm.deploy.slimming import build_model
from chex_mm.engine.models.slim_model import plain_architecture, slim_model
from chex_mm.errors import ChexError
from chex_mm.packages import load_packages, package_of
from chex_mm.packages.mmdet3d.small_scene import GRIDS
from chex_mm.packages.paths import Paths, generated_batch, run_paths
from chex_mm.surgery import SlimSpec, narrow_

from .configs import architectures
from .verdict import Candidate, NotRunnable

# What has models; of OpenMMLab's packages, those of which is known what they
# read.
PACKAGES = (*load_packages(), 'torchvision')
SETTINGS = ('train_cfg', 'test_cfg')
MOST = 64  # of whatever such settings count
NEEDS = 'it needs {}, which is not installed'
# What an error says if the machine, not the model, is the reason.
OUT_OF_REACH = {
    r'(\w+?)_impl: implementation for device cpu': (
        'mmcv has no CPU kernel of {}'
    ),
    r"Failed to import custom modules from \{'imports': \['(\w+)": NEEDS,
    r'(?:No module named|Failed to import|cannot import name) (\S+)': NEEDS,
    r'(\S+) (?:is|are) not installed': NEEDS,
    r'mim install ([\w.-]+)': NEEDS,
    r'(?i)(?:run|install) .*?pip install ([\w.-]+)': NEEDS,
    r'Please install (Detectron2)': NEEDS,
    r'Please follow \S+ to install ([\w ]+)': NEEDS,
    r'(not compiled with CUDA|No CUDA GPUs|Found no NVIDIA|initialize CUDA)': (
        'it calls CUDA by name'
    ),
    r'(batch_norm eps must be positive)': (
        'torch refuses its batch norms, of which eps is 0'
    ),
    r'(Class values must be non-negative)': (
        'mmdet has no focal loss of the label -1 on a CPU: {}'
    ),
    r'(three_nn needs points \(B, N, 3\))': (
        "mmdet3d's loss of it needs CUDA, which reads four columns as three"
    ),
    r"'InstanceData' object has no attribute '(\w+)'": (
        'its training pipeline packs no {}'
    ),
    r'No scene can be generated: (train_dataloader)': (
        'its config, written for mmdet 2, has no {} to tell what it reads'
    ),
    r'No scene can be generated for (\w+)': (
        'the zoo generates clouds and single images, and it reads {}'
    ),
    r'(\w+\.__init__\(\) (?:missing \d+ required|got an unexpected) .*)': (
        "the package's own config cannot be built: {}"
    ),
    r'Invalid mode "(predict)"': (
        'it learns without labels, and has no mode {}'
    ),
    r'(learns from branches of a batch)': (
        'CHEX refuses a student that is averaged into its teacher: it {}'
    ),
    r'(huggingface\.co|urlopen error|Max retries exceeded)': (
        'it downloads weights of a language or vision model'
    ),
}


def prepare(package: str) -> None:
    """Imports whatever every architecture of `package` needs."""
    for name in (f'{package}.models', 'torch._dynamo'):
        import_module(name)


def names(
    package: str, only: Sequence[str] = (), one_per_folder: bool = False
) -> list[str]:
    """The architectures of an installed package."""
    if package == 'torchvision':
        known = _torchvision().list_models(module=_torchvision())
        return [n for n in known if not only or any(o in n for o in only)]
    return list(architectures(configs_of(package), only, one_per_folder))


def make(package: str, name: str, sides: Sequence[int]) -> Candidate:
    """An architecture, ready to run.

    Args:
        package: Where it is from.
        name: One of `names(package)`.
        sides: Of images; the first at which the model runs is taken.

    Raises:
        NotRunnable: This machine lacks what it needs.
        ChexError: It runs at none of these sizes.
    """
    for side in sides:
        try:
            if package == 'torchvision':
                return _torchvision_model(name, side)
            config = load_config(f'{package}::{name}')
            use_scope(config)
            package_of(config).shrink(config)
            config.model = with_untrained_teacher(config.model, package)
            return from_config(config, side)
        except Exception as error:
            reason = why_not_runnable(error)
            if reason:
                raise NotRunnable(reason) from error
            if side == sides[-1] or not isinstance(error, ChexError):
                raise
    raise ValueError('sides is empty; pass one, such as 128.')


def why_not_runnable(error: BaseException | None) -> str | None:
    """What the machine lacks, if that is what an error is about."""
    while error is not None:
        for pattern, reason in OUT_OF_REACH.items():
            found = re.search(pattern, str(error))
            if found:
                return reason.format(found[1].strip('\'"`.,'))
        error = error.__cause__ or error.__context__
    return None


def from_config(config: Config, side: int) -> Candidate:
    """The model of a config whose `default_scope` is in use.

    Args:
        config: Complete.
        side: Height and width of generated images.
    """
    config.model = with_few_regions(config.model)
    model = revert_sync_batchnorm(build_model(config))
    draw_vectors(model)
    if getattr(model.data_preprocessor, 'batch_augments', None):
        model.data_preprocessor.batch_augments = None  # pads to 1024 pixels
    batch = generated_batch(model, (3, side, side), config)
    try:
        paths = run_paths(copy.deepcopy(model), batch)
    except ChexError:  # some only run on the boxes that they start from
        model.init_weights()
        paths = run_paths(copy.deepcopy(model), batch)
    step = next((p for p in paths.also if p.mode == 'loss'), None)
    return Candidate(
        model=model,
        paths=paths,
        loss=step and (lambda model: model.parse_losses(step(model))[0]),
        rebuild=partial(_rebuild, config),
        side=side,
    )


def with_untrained_teacher(model: dict, package: str) -> dict:
    """A model config whose teacher is one of the package, not downloaded."""
    teacher = model.get('teacher_config')
    if isinstance(teacher, str):
        path = configs_of(package).parent / teacher
        model.teacher_config = Config.fromfile(path)
    if 'teacher_ckpt' in model:
        model.teacher_ckpt = None
    return model


def with_few_regions(model: dict) -> dict:
    """A model config whose settings ask for few boxes, points and samples.

    Two-stage models else compute the same head a thousand times. As many as
    the architecture has of something (queries) stay as many.
    """
    counted = set(_counted(model))

    def few(value: Any, is_setting: bool) -> Any:
        if isinstance(value, dict):
            return type(value)(
                (
                    key,
                    part  # cells of a map, as many as the layers before make
                    if key in GRIDS
                    else few(part, is_setting or key in SETTINGS),
                )
                for key, part in value.items()
            )
        if isinstance(value, (list, tuple)):
            return type(value)(few(part, is_setting) for part in value)
        if is_setting and type(value) is int and value not in counted:
            return min(value, MOST)
        return value

    return few(model, False)


def _counted(value: Any, name: str = '') -> Iterator[int]:
    """Integers that the architecture calls a number of something."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key not in SETTINGS:
                yield from _counted(part, key)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _counted(part, name)
    elif type(value) is int and name.startswith('num_'):
        yield value


def _rebuild(config: Config, channels: dict) -> nn.Module:
    architecture = plain_architecture(copy.deepcopy(config.model))
    built = slim_model(architecture, channels, config.get('data_preprocessor'))
    return revert_sync_batchnorm(built)


def _torchvision():
    return import_module('torchvision.models')


def _torchvision_model(name: str, side: int) -> Candidate:
    model = _build_torchvision(name)
    draw_vectors(model)
    for parameter in model.parameters():
        if not parameter.any():  # a head that starts at zero hides all
            nn.init.normal_(parameter, std=0.02)
    images = torch.randn(2, 3, side, side)
    paths = Paths(
        partial(_in_mode, images[:1], False),
        (partial(_in_mode, images, True),),
    )
    try:
        for path in (paths.cost, *paths.also):
            path(copy.deepcopy(model))
    except (AssertionError, RuntimeError) as error:  # a fixed size, say 224
        raise ChexError(f'{name} fails at {side} pixels: {error}') from error
    return Candidate(
        model=model,
        paths=paths,
        loss=partial(_sum_of_squares, images),
        rebuild=lambda channels: narrow_(
            _build_torchvision(name), SlimSpec(channels)
        ),
        side=side,
    )


def _build_torchvision(name: str) -> nn.Module:
    # As many classes as no layer has channels.
    return _torchvision().get_model(name, weights=None, num_classes=33).eval()


def _in_mode(images: torch.Tensor, training: bool, model: nn.Module):
    out = model.train(training)(images)
    return list(out) if isinstance(out, tuple) else out


def _sum_of_squares(images: torch.Tensor, model: nn.Module) -> torch.Tensor:
    outs = _in_mode(images, True, model)
    outs = outs if isinstance(outs, list) else [outs]
    return sum(out.square().sum() for out in outs)
