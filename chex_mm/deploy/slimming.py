"""From a training checkpoint to a narrow model that is proven equal.

Nothing is returned unless the masks in the checkpoint and its weights agree,
and masked and narrow model give the same outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import Tensor, nn

from ..cli.progress import stage
from ..engine.explored_checkpoint import (
    check_inactive,
    load_weights,
    read_checkpoint,
)
from ..engine.models.slim_model import plain_architecture
from ..errors import ChexError
from ..graph.graph import ChannelGraph
from ..graph.state import graph_from_state
from ..packages.paths import Path, run_paths
from ..strategies.state import check_masks
from ..surgery import NOISE, Difference, compare, describe, rounding, slim

MODES = ('tensor', 'predict')
# Rounding mostly stays far below, a wrong cut is far above.
MOST_APART, MOST_APART_AT_DECISIONS = 1e-4, 1e-3
MOST_NOISE = 1e-2  # what is further apart than this is never called rounding
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
    config: Config,
    checkpoint: str,
    images: int = IMAGES,
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
    stage('read the checkpoint')
    loaded = read_checkpoint(checkpoint)
    state = loaded['chex']
    masked = build_model(config)
    load_weights(masked, loaded['state_dict'], checkpoint)
    keep = state['explorer']['keep']
    # Not traced again: which couplings show may depend on the weights.
    graph = graph_from_state(state['graph'])
    check_masks(keep, graph.free)
    check_inactive(masked, graph, keep)
    stage('cut')
    narrow = slim(masked, graph, keep)
    stage(f'compare masked and narrow on {images} test samples')
    samples = _test_samples(config, images)
    return Slimmed(
        masked=masked,
        narrow=narrow,
        graph=graph,
        keep=keep,
        channels=dict(describe(masked, narrow).channels),
        differences=verify(masked, narrow, samples),
        meta={'dataset_meta': loaded.get('meta', {}).get('dataset_meta', {})},
    )


def build_model(config: Config) -> nn.Module:
    """The dense model of a config, in eval mode, nothing downloaded.

    Raises:
        ChexError: The config describes no model that can be built.
    """
    architecture = plain_architecture(config.model)
    if 'data_preprocessor' in config:
        architecture.setdefault('data_preprocessor', config.data_preprocessor)
    try:
        model = MODELS.build(architecture)
    except Exception as error:  # any of a model's own
        raise ChexError(
            'The model of the config cannot be built: '
            f'{type(error).__name__}: {error}'
        ) from error
    model.eval()  # mmdet3d's ImVoteNet returns nothing here
    return model


def verify(
    masked: nn.Module, narrow: nn.Module, samples: list
) -> dict[str, Difference]:
    """Largest difference of the outputs, by the modes that the model has.

    Raises:
        ChexError: It is more than rounding explains.
    """
    found: dict[str, Difference] = {}
    for sample in samples:
        paths = run_paths(copy.deepcopy(masked), sample, MODES, False)
        for path in (paths.cost, *paths.also):
            difference = compare(masked, narrow, path)
            _check_difference(masked, path, difference)
            worst = found.setdefault(path.mode, difference)
            if difference.max_abs > worst.max_abs:
                found[path.mode] = difference
    return found


def _test_samples(config: Config, images: int) -> list:
    """The first test images, each a batch of its own."""
    if not config.get('test_dataloader'):
        raise ChexError(
            'The config has no test_dataloader, whose samples verify the cut.'
        )
    try:
        cfg = copy.deepcopy(config.test_dataloader)
        loader = Runner.build_dataloader(cfg, seed=0)
        count = min(images, len(loader.dataset))
        return [loader.collate_fn([loader.dataset[i]]) for i in range(count)]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ChexError(
            f'The data of test_dataloader cannot be read: {error}'
        ) from error


def _check_difference(
    masked: nn.Module, path: Path, found: Difference
) -> None:
    """Refuses what is further apart than rounding explains.

    Outputs that are small differences of large numbers are measured by what
    rounding does to those of the masked model itself.
    """
    if _is_close(found, MOST_APART, MOST_APART_AT_DECISIONS):
        return
    most = rounding(masked, path)
    rel = min(NOISE * most.max_rel, MOST_NOISE)
    at_decisions = min(NOISE * most.at_decisions, MOST_NOISE)
    if not _is_close(
        found,
        max(MOST_APART, rel),
        max(MOST_APART_AT_DECISIONS, at_decisions),
    ):
        raise ChexError(
            'The narrow model differs from the masked one in the '
            f'{path.mode!r} path by more than rounding explains, so nothing '
            f'is written. Between the two: {found}. By rounding alone: '
            f'{most}. Please '
            'report the architecture.'
        )


def _is_close(found: Difference, rel: float, at_decisions: float) -> bool:
    # A number that is none is close to nothing.
    return found.max_rel <= rel and found.at_decisions <= at_decisions
