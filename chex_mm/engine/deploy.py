"""From a training checkpoint to a narrow model that is proven equal.

Nothing is returned unless the masks in the checkpoint, its weights and the
traced channels agree, and masked and narrow model give the same outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import CheckpointLoader, Runner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..channels.graph import ChannelGraph, ChannelGroup
from ..errors import ChexError
from ..surgery import Difference, compare, describe, slim
from .hooks.checkpoint import graph_from_state
from .models.masked_backbone import MASK
from .models.slim_model import plain_architecture
from .tracing import Path, trace_detector, training_batch

MODES = ('tensor', 'predict')
# Rounding stays far below, a wrong cut is far above.
MOST_APART, MOST_APART_AT_DECISIONS = 1e-4, 1e-3
IMAGES = 2


@dataclass(frozen=True, eq=False)
class Slimmed:
    """A model before and after the cut.

    Attributes:
        masked: The dense model of the checkpoint, inactive channels zero.
        narrow: Without them.
        graph: The channels, with the cost that the training run counted.
        keep: The active channels of the explored groups.
        channels: What makes the dense architecture narrow.
        differences: Largest difference of their outputs, by mode.
        meta: What the checkpoint says about its data set.
    """

    masked: nn.Module
    narrow: nn.Module
    graph: ChannelGraph
    keep: Mapping[str, Tensor]
    channels: dict[str, dict]
    differences: Mapping[str, Difference]
    meta: dict


def slim_checkpoint(
    config: Config, checkpoint: str, images: int = IMAGES
) -> Slimmed:
    """The narrow model of a checkpoint that a run with CHEXHook wrote.

    Weights that mmengine's EMAHook averaged are the ones it puts into a
    checkpoint's state dict, so they are what is cut.

    Args:
        config: The config of that run.
        checkpoint: File or address.
        images: So many test images the outputs are compared on.

    Raises:
        ChexError: Checkpoint, config and data do not fit together, or the
            outputs differ.
    """
    loaded = read_checkpoint(checkpoint)
    state = loaded['chex']
    masked = build_model(config)
    _load_weights(masked, loaded['state_dict'], checkpoint)
    batch = _read_data('train_dataloader', training_batch, config)
    traced = trace_detector(masked, batch)
    keep = state['explorer']['keep']
    graph = graph_from_state(state['graph'])
    _check_groups(graph, traced, checkpoint)
    _check_inactive(masked, traced, keep)
    narrow = slim(masked, traced, keep)
    samples = _read_data('test_dataloader', _test_samples, config, images)
    return Slimmed(
        masked=masked,
        narrow=narrow,
        graph=graph,
        keep=keep,
        channels=dict(describe(masked, narrow).channels),
        differences=verify(masked, narrow, samples),
        meta={'dataset_meta': loaded.get('meta', {}).get('dataset_meta', {})},
    )


def read_checkpoint(name: str) -> dict:
    """A checkpoint with exploration state, on the CPU.

    Raises:
        ChexError: It cannot be read, or CHEXHook did not write it.
    """
    try:
        loaded = CheckpointLoader.load_checkpoint(name, map_location='cpu')
    except (RuntimeError, EOFError, UnpicklingError) as error:
        reason = str(error).partition('\n')[0]
        raise ChexError(
            f'{name} is not a readable checkpoint: {reason}'
        ) from error
    if 'chex' not in loaded or 'state_dict' not in loaded:
        raise ChexError(
            f"{name} holds no exploration state ('chex'), so nothing says "
            'which channels are active. Pass a checkpoint of a run with '
            "custom_hooks=[dict(type='CHEXHook', ...)]."
        )
    return loaded


def build_model(config: Config) -> nn.Module:
    """The dense model of a config, in eval mode, nothing downloaded."""
    architecture = plain_architecture(config.model)
    if 'data_preprocessor' in config:
        architecture.setdefault('data_preprocessor', config.data_preprocessor)
    return MODELS.build(architecture).eval()


def verify(
    masked: nn.Module, narrow: nn.Module, samples: list
) -> dict[str, Difference]:
    """Largest difference of the outputs, by mode.

    Raises:
        ChexError: It is more than rounding explains.
    """
    found: dict[str, Difference] = {}
    for sample in samples:
        data = masked.data_preprocessor(copy.deepcopy(sample), False)
        for mode in MODES:
            difference = compare(masked, narrow, plain_run(Path(mode, data)))
            _check_difference(mode, difference)
            if mode not in found or difference.max_abs > found[mode].max_abs:
                found[mode] = difference
    return found


def plain_run(path: Path) -> Callable[[nn.Module], Any]:
    """`path` with plain outputs, as `compare` takes them."""
    return lambda model: _plain(path(model))


def _load_weights(model: nn.Module, weights: dict, name: str) -> None:
    """Loads all weights but masks; names the first one that does not fit."""
    weights = {
        key: value
        for key, value in weights.items()
        if not key.rpartition('.')[2].startswith(MASK)
    }
    own = model.state_dict()
    for key in {**weights, **own}:
        saved, here = _shape(weights.get(key)), _shape(own.get(key))
        if saved != here:
            raise ChexError(
                f'{name} is a checkpoint of another model: {key} is {saved} '
                f'in the checkpoint and {here} in the model. Pass the config '
                'that wrote it (checkpoint["meta"]["cfg"]).'
            )
    model.load_state_dict(weights)


def _shape(tensor: Tensor | None) -> str:
    return 'missing' if tensor is None else str(tuple(tensor.shape))


def _check_groups(saved: ChannelGraph, traced: ChannelGraph, name: str):
    """Refuses a checkpoint whose channels are coupled in another way."""
    for group in {**saved.groups, **traced.groups}:
        there, here = saved.groups.get(group), traced.groups.get(group)
        if not (there and here and _is_same(there, here)):
            raise ChexError(
                f'{name} is a checkpoint of another model: the channel group '
                f'{group!r} is [{there or "missing"}] in the checkpoint and '
                f'[{here or "missing"}] in the model. Pass the config that '
                'wrote it (checkpoint["meta"]["cfg"]).'
            )


def _is_same(one: ChannelGroup, other: ChannelGroup) -> bool:
    return (
        (one.size, one.pinned is None) == (other.size, other.pinned is None)
        and len(one.slices) == len(other.slices)
        and all(
            (a.tensor, a.dim) == (b.tensor, b.dim)
            and torch.equal(a.index, b.index)
            for a, b in zip(one.slices, other.slices)
        )
    )


def _check_inactive(model: nn.Module, graph: ChannelGraph, keep) -> None:
    """Refuses weights that are not the sub-model of their own masks."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, mask in keep.items():
        for each in graph.groups[name].slices:
            inactive = tensors[each.tensor].index_select(
                each.dim, each.positions(~mask)
            )
            if inactive.any():
                raise ChexError(
                    f'The checkpoint contradicts its masks: {each.tensor!r} '
                    f'is not zero at inactive channels of {name!r}. Its '
                    'weights were changed after the last exploration step '
                    'without CHEXHook.'
                )


def _read_data(key: str, read, config: Config, *arguments) -> Any:
    """What `read` makes of a data loader of the config."""
    if not config.get(key):
        raise ChexError(
            f'The config has no {key}, whose samples show the channels and '
            'verify the cut.'
        )
    try:
        return read(config[key], *arguments)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ChexError(
            f'The data of {key} cannot be read: {error}'
        ) from error


def _test_samples(cfg: dict, images: int) -> list:
    """The first test images, each a batch of its own."""
    loader = Runner.build_dataloader(copy.deepcopy(cfg), seed=0)
    count = min(images, len(loader.dataset))
    return [loader.collate_fn([loader.dataset[i]]) for i in range(count)]


def _plain(value: Any) -> Any:
    """Predictions as nested dicts and lists of tensors and numbers."""
    if isinstance(value, BaseDataElement):
        return {
            key: _plain(part)
            for key, part in value.items()
            if not key.startswith(('gt_', 'ignored_'))  # from the data set
        }
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    # Boxes of mmdet wrap a tensor.
    return getattr(value, 'tensor', value)


def _check_difference(mode: str, found: Difference) -> None:
    for apart, most, where in (
        (found.max_rel, MOST_APART, 'of the largest output'),
        (found.at_decisions, MOST_APART_AT_DECISIONS, 'where it decides'),
    ):
        if not apart <= most:
            raise ChexError(
                'The narrow model differs from the masked one in the '
                f'{mode!r} path by {apart:.1e} {where} ({most:.0e} is '
                f'allowed), so nothing is written. In all: {found}. Please '
                'report the architecture.'
            )
