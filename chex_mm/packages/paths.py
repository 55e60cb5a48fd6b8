"""A real batch, and the ways through a model that its channels take.

Tracing a model here leaves no trace: the model, its buffers, the data
loader, the data set and all random states are as they were before.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Union

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, print_log
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

import chex_mm

from ..dispatch.randomness import fixed_random_state
from ..errors import ChexError
from ..graph.graph import ChannelGraph
from ..surgery.copying import copy_of
from . import package_in
from .package import SAMPLES, Batch

PROGRESS = 'iter', 'epoch'  # in mmengine's message hub while it trains


def training_batch(source: Union[Runner, DataLoader, dict]) -> Batch:
    """A batch of two training samples through the stock pipeline.

    Always the same ones, augmented in the same way.

    Args:
        source: A runner, its data loader, or the config of one.
    """
    with fixed_random_state():
        if isinstance(source, Runner):
            source = source.train_dataloader
        if not isinstance(source, DataLoader):
            source = Runner.build_dataloader(source, seed=0)
        dataset = _apart(source.dataset)
        samples = [dataset[i % len(dataset)] for i in range(SAMPLES)]
        return source.collate_fn(samples)


def generated_batch(
    model: nn.Module,
    shape: tuple[int, int, int] = (3, 320, 320),
    config: Config | None = None,
) -> Batch:
    """A batch of noise with annotations that a model can read.

    Args:
        model: Of a package that `chex_mm.packages` knows.
        shape: (channels, height, width) of an image.
        config: What the model was built from; it tells the package, and what
            the training pipeline of a model of mmdet3d loads.
    """
    package = package_in(model, config)
    return package.batch(model, config, shape[1:])


@dataclass(frozen=True)
class Path:
    """One way through a model: `path(model)` runs it on data of its own."""

    mode: str
    data: Batch

    def __call__(self, model: nn.Module) -> Any:
        """What the model's forward returns in this mode, as plain data."""
        model.train(self.mode == 'loss')
        data = copy.deepcopy(self.data)
        with _progress():
            if isinstance(data, dict):
                found = model(**data, mode=self.mode)
            else:
                found = model(*data, mode=self.mode)
        return package_in(model).plain(found)


@dataclass(frozen=True)
class Paths:
    """The ways through a model that `trace_channels` follows.

    Attributes:
        cost: What one image costs at inference.
        also: What couples channels but is not counted.
        skipped: Mode to the reason why the model has no such path.
    """

    cost: Callable
    also: tuple[Callable, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def repeats_cost(self) -> bool:
        """Whether results are predicted of what 'tensor' gives."""
        cost, *also = (getattr(p, 'mode', '') for p in (self.cost, *self.also))
        return cost == 'tensor' and 'predict' in also

    @property
    def replayed(self) -> tuple[Callable, ...]:
        """The paths that a narrow copy is run through."""
        return self.also if self.repeats_cost else (self.cost, *self.also)


def run_paths(
    model: nn.Module,
    batch: Batch,
    modes: tuple[str, ...] = ('tensor', 'predict', 'loss'),
    is_training_batch: bool = True,
) -> Paths:
    """The paths that `model` implements, each on preprocessed data.

    The cost is that of the first of `modes` that it has. Runs each path
    once, so pass a copy.

    Args:
        model: A BaseModel.
        batch: What a data loader gives.
        modes: Of the model's forward.
        is_training_batch: Whether it is the training data loader.

    Raises:
        ChexError: A path fails, or there is none.
    """
    package = package_in(model)
    preprocessor = package.preprocessor(model)
    found, skipped = [], {}
    for mode in modes:
        given = copy.deepcopy(batch)
        if mode == 'predict' and is_training_batch:
            given = package.as_tested(model, given)
        path = Path(mode, _preprocessed(preprocessor, given, mode))
        reason = _missing(path, model)
        if reason:
            skipped[mode] = reason
        else:
            found.append(path)
    if not found:
        raise ChexError(
            f'{type(model).__name__} cannot be traced: '
            + '; '.join(f'{mode}: {why}' for mode, why in skipped.items())
            + ". Its forward(inputs, data_samples, mode) must support 'tensor'"
            ", 'predict' or 'loss'."
        )
    return Paths(found[0], tuple(found[1:]), skipped)


def alone(model: nn.Module) -> nn.Module:
    """The model without other processes and without masks of its own.

    It has the same channels, and is changed itself.
    """
    # Here, because what is above this room in that one asks it at once.
    from ..engine.models.masked_backbone import drop_masks

    if any(type(m).__name__ == 'SyncBatchNorm' for m in model.modules()):
        model = revert_sync_batchnorm(model)
    drop_masks(model)
    return model


def trace_detector(
    model: nn.Module, batch: Batch, strict: bool = False
) -> ChannelGraph:
    """The channels of any mmengine model, coupled by all of its paths.

    Args:
        model: A BaseModel, wrapped for distributed training or not.
        batch: What its data loader gives, before the data preprocessor.
        strict: Raise on operators without a rule.
    """
    twin = alone(copy_of(model.module if is_model_wrapper(model) else model))
    with fixed_random_state():
        paths = run_paths(twin, batch)
        for mode, reason in paths.skipped.items():
            print_log(
                f'CHEX does not trace the {mode!r} path: {reason}.',
                logger='current',
                level=logging.WARNING,
            )
        return chex_mm.trace_channels(
            twin,
            paths.cost,
            also=paths.also,
            strict=strict,
            repeats_cost=paths.repeats_cost,
        )


def _apart(dataset: Any) -> Any:
    """A data set with pipelines of its own (they may keep a cache).

    Annotations are shared.
    """
    dataset = copy.copy(dataset)
    if hasattr(dataset, 'pipeline'):
        dataset.pipeline = copy.deepcopy(dataset.pipeline)
    if hasattr(dataset, 'dataset'):
        dataset.dataset = _apart(dataset.dataset)
    if hasattr(dataset, 'datasets'):
        dataset.datasets = [_apart(each) for each in dataset.datasets]
    return dataset


def _preprocessed(preprocessor: nn.Module, batch: Batch, mode: str) -> Batch:
    """What the model takes; `batch` is the caller's to spend."""
    if mode != 'loss':
        batch = _complete(_first_sample(batch))
    preprocess = copy.deepcopy(preprocessor)
    preprocess.train(mode == 'loss')
    return preprocess(batch, mode == 'loss')


@contextmanager
def _progress() -> Iterator[None]:
    """Heads that ask how far training is are told: at its start."""
    hub = MessageHub.get_current_instance()
    unknown = [key for key in PROGRESS if hub.get_info(key) is None]
    for key in unknown:
        hub.update_info(key, 0)
    try:
        yield
    finally:
        for key in unknown:
            del hub.runtime_info[key]


def _first_sample(batch: Batch) -> Batch:
    if isinstance(batch, dict):
        return {
            key: _first_sample(value) if isinstance(value, dict) else value[:1]
            for key, value in batch.items()
        }
    return [value[:1] for value in batch]


def _complete(batch: Batch) -> Batch:
    """Adds what `predict` scales boxes back by and training leaves out."""
    samples = batch.get('data_samples', ()) if isinstance(batch, dict) else ()
    for sample in samples:
        shape = getattr(sample, 'img_shape', None)
        if shape is not None:
            rest = dict(scale_factor=(1.0, 1.0), ori_shape=shape)
            sample.set_metainfo({**rest, **sample.metainfo})
    return batch


def _missing(path: Path, model: nn.Module) -> str | None:
    """Why `model` does not implement `path`, or None if it does."""
    try:
        with torch.no_grad():
            output = path(model)
    except NotImplementedError as error:
        why = f' ({error})' if str(error) else ''
        return f'not implemented{why}'
    except Exception as error:
        if path.mode == 'tensor':  # nobody runs it; in mmdet3d some are stale
            return f'it fails ({type(error).__name__}: {error})'
        raise ChexError(
            f'{type(model).__name__} fails in its {path.mode!r} path, which '
            f'CHEX must trace: {type(error).__name__}: {error}. Run '
            f"model(**data, mode='{path.mode}') on the first {SAMPLES} "
            'training samples to see it alone.'
        ) from error
    return 'it returns None' if output is None else None
