"""What tools have to know of a package whose models they run.

One record per package; what it leaves out is as mmengine has it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..errors import ChexError

Batch = Any  # what a data loader's collate function returns
Run = Callable[[nn.Module], Any]
Shape = tuple[int, int]  # height and width of an image
SAMPLES = 2  # a batch norm in training needs more than one


def count_classes(model: nn.Module) -> int:
    """Classes that every head of a model knows."""
    return min(
        (
            module.num_classes
            for module in model.modules()
            if isinstance(getattr(module, 'num_classes', None), int)
            and module.num_classes > 0  # some backbones say -1
        ),
        default=1,
    )


def noise_images(shape: Shape, generator: torch.Generator) -> list[Tensor]:
    """Images of noise, (3, height, width) of whole numbers each."""
    images = torch.randint(256, (SAMPLES, 3, *shape), generator=generator)
    return list(images.to(torch.uint8))


def no_batch(model: nn.Module, config: Config | None, shape: Shape) -> Batch:
    """Refuses a model of which it is not known what it reads."""
    raise ChexError(
        f'No batch can be generated for {type(model).__name__}: it is of no '
        'package that chex_mm.packages knows. Use '
        'chex_mm.packages.paths.trace_detector(model, batch).'
    )


def as_given(model: nn.Module, batch: Batch) -> Batch:
    """The batch itself: testing takes what training does."""
    return batch


def own_preprocessor(model: nn.Module) -> nn.Module:
    """A copy of the model's data preprocessor."""
    return copy.deepcopy(model.data_preprocessor)


def plain(result: Any) -> Any:
    """Predictions as nested dicts and lists of tensors and numbers."""
    if isinstance(result, BaseDataElement):
        return {
            key: plain(part)
            for key, part in result.items()
            # What comes from the data set is no prediction.
            if not key.startswith(('gt_', 'ignored_', 'eval_'))
        }
    if isinstance(result, dict):
        return {key: plain(part) for key, part in result.items()}
    if isinstance(result, (list, tuple)):
        return [plain(part) for part in result]
    # Boxes of mmdet wrap a tensor.
    return getattr(result, 'tensor', result)


def unshared(run: Run) -> Run:
    """The run itself: no model decides where the next one looks."""
    return run


def image(shape: Shape) -> str:
    """An image, in words."""
    height, width = shape
    return f'an image of {width} x {height}'


def as_large(config: Config) -> None:
    """Leaves a config as it is: smaller images are all that it takes."""


@dataclass(frozen=True)
class Package:
    """What tools ask about the models of a package.

    Attributes:
        requirement: What pip installs it by.
        batch: (model, config, shape) to a batch of noise with annotations, as
            the data loader collates it; always the same one.
        preprocessor: Model to a copy of its data preprocessor that needs no
            other process; refuses a model that is not one network.
        as_tested: (model, training batch) to what `predict` takes.
        plain: What a forward returns, as nested dicts and lists of tensors,
            without what is no result.
        shared: A run of a model to one that lets the second model look where
            the first did.
        unit: Shape to what of a generated batch is counted, in words.
        shrink: Makes what a config trains on smaller, its layers as they are.
    """

    requirement: str = 'mmengine'
    batch: Callable[[nn.Module, Config | None, Shape], Batch] = no_batch
    preprocessor: Callable[[nn.Module], nn.Module] = own_preprocessor
    as_tested: Callable[[nn.Module, Batch], Batch] = as_given
    plain: Callable[[Any], Any] = plain
    shared: Callable[[Run], Run] = unshared
    unit: Callable[[Shape], str] = image
    shrink: Callable[[Config], None] = as_large
