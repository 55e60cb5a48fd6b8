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
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils.data import DataLoader

import chex_mm

from ..dispatch.randomness import fixed_random_state
from ..engine.models.masked_backbone import drop_masks
from ..errors import ChexError
from ..graph.graph import ChannelGraph
from ..surgery.copying import copy_of

Batch = Any  # what a data loader's collate function returns
SAMPLES = 2  # a batch norm in training needs more than one
PROGRESS = 'iter', 'epoch'  # in mmengine's message hub while it trains
# What mmdet3d's heads return for later stages, under `mode='tensor'`.
HANDED_ON = (
    'seed_features',
    'vote_features',
    'aggregated_features',
    'query_points_feature',
)


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
    """A batch of noise with annotations that a detector can read.

    Args:
        model: Of mmdet, of mmdet3d, or a classifier of mmpretrain.
        shape: (channels, height, width) of an image.
        config: What the model was built from; it tells the package, and what
            the training pipeline of a model of mmdet3d loads.
    """
    classes = count_classes(model)
    scope = None if config is None else config.get('default_scope')
    if scope == 'mmpretrain':
        from .mmpretrain_images import labelled_images

        return labelled_images(shape, classes, SAMPLES)
    if scope == 'mmdet3d':
        from .mmdet3d_clouds import generated_scenes, scene_layout

        layout = scene_layout(config)
        return generated_scenes(layout, classes, shape[1:], SAMPLES)
    if type(model.data_preprocessor).__name__ == 'TrackDataPreprocessor':
        return _generated_videos(model, shape, classes)
    return _generated_images(model, shape, classes)


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


def _generated_images(model: nn.Module, shape, classes: int) -> Batch:
    from mmdet.testing import demo_mm_inputs

    with fixed_random_state():
        batch = demo_mm_inputs(
            batch_size=SAMPLES,
            image_shapes=[shape] * SAMPLES,
            with_mask=_learns_masks(model),
            with_semantic=_reads(model, 'pad_seg', 'with_semantic'),
        )
    for sample in batch['data_samples']:
        sample.gt_instances.labels %= classes
        if getattr(model, 'with_rpn', True) is False:  # regions are data
            boxes = sample.gt_instances.bboxes
            sample.proposals = InstanceData(
                bboxes=boxes.clone(), scores=torch.ones(len(boxes))
            )
    return batch


def _generated_videos(model: nn.Module, shape, classes: int) -> Batch:
    """A frame that is tracked from, and one that it is looked for in."""
    from mmdet.testing import demo_track_inputs

    with fixed_random_state():
        return demo_track_inputs(
            batch_size=SAMPLES,
            num_frames=2,
            key_frames_inds=[0],
            image_shapes=[shape] * SAMPLES,
            num_classes=classes,
            with_mask=_learns_masks(model),
        )


@dataclass(frozen=True)
class Path:
    """One way through a model: `path(model)` runs it on data of its own."""

    mode: str
    data: Batch

    def __call__(self, model: nn.Module) -> Any:
        """What the model's forward returns in this mode."""
        model.train(self.mode == 'loss')
        data = copy.deepcopy(self.data)
        with _progress():
            if isinstance(data, dict):
                return _results(model(**data, mode=self.mode))
            return _results(model(*data, mode=self.mode))


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
    _refuse_branches(model)
    found, skipped = [], {}
    for mode in modes:
        given = copy.deepcopy(batch)
        if mode == 'predict' and is_training_batch:
            given = _as_tested(model, given)
        path = Path(mode, _preprocessed(model, given, mode))
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


def _refuse_branches(model: nn.Module) -> None:
    kind = type(model.data_preprocessor).__name__
    if kind == 'MultiBranchDataPreprocessor':
        raise ChexError(
            f'{type(model).__name__} learns from branches of a batch '
            f'({kind}): its student is averaged into a teacher, and '
            'CHEX explores one network. Explore the detector alone: '
            'model=cfg.model.detector.'
        )


def trace_detector(
    model: nn.Module, batch: Batch, strict: bool = False
) -> ChannelGraph:
    """The channels of any mmengine model, coupled by all of its paths.

    Args:
        model: A BaseModel, wrapped for distributed training or not.
        batch: What its data loader gives, before the data preprocessor.
        strict: Raise on operators without a rule.
    """
    twin = copy_of(model.module if is_model_wrapper(model) else model)
    if any(type(m).__name__ == 'SyncBatchNorm' for m in twin.modules()):
        twin = revert_sync_batchnorm(twin)  # same channels, no other process
    drop_masks(twin)
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


def _preprocessed(model: nn.Module, batch: Batch, mode: str) -> Batch:
    """What the model takes; `batch` is the caller's to spend."""
    if mode != 'loss':
        batch = _complete(_first_sample(batch))
    preprocess = copy.deepcopy(model.data_preprocessor)
    preprocess.train(mode == 'loss')
    augments = getattr(preprocess, 'batch_augments', None)
    if isinstance(augments, nn.ModuleList):
        # Random sizes are agreed on with other ranks, by the iteration.
        preprocess.batch_augments = nn.ModuleList(
            augment
            for augment in augments
            if type(augment).__name__ != 'BatchSyncRandomResize'
        )
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


def _results(output: Any) -> Any:
    """Without the features that heads on points hand on beside results."""
    if not isinstance(output, dict):
        return output
    return {k: v for k, v in output.items() if k not in HANDED_ON}


def _as_tested(model: nn.Module, batch: Batch) -> Batch:
    """A training batch as mmdet3d's segmentors take it in testing.

    They append coordinates within the room themselves, and slide a window
    that a patch, which training sees, may be too narrow for.
    """
    settings = getattr(model, 'test_cfg', None) or {}
    if settings.get('mode') != 'slide' or 'block_size' not in settings:
        return batch
    appended = 3 * bool(settings.get('use_normalized_coord'))
    batch['inputs']['points'] = [
        _stretched(
            cloud[:, : cloud.shape[1] - appended], settings['block_size']
        )
        for cloud in batch['inputs']['points']
    ]
    return batch


def _stretched(cloud: Tensor, least: float) -> Tensor:
    """The cloud, in x and y at least `least` wide."""
    ground = cloud[:, :2]
    extent = (ground.amax(0) - ground.amin(0)).clamp(min=1e-6)
    scale = (least / extent).clamp(min=1)
    return torch.cat([ground * scale, cloud[:, 2:]], dim=1)


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


def _learns_masks(model: nn.Module) -> bool:
    """Whether masks are part of its annotations; others may not take them."""
    return _reads(model, 'pad_mask', 'with_mask') or any(
        isinstance(getattr(module, 'loss_mask', None), nn.Module)
        for module in model.modules()
    )


def _reads(model: nn.Module, *flags: str) -> bool:
    return any(
        getattr(module, flag, False) is True
        for module in model.modules()
        for flag in flags
    )
