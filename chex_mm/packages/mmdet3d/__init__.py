"""What is known of mmdet3d, by name: it is imported where a batch is made.

Its detectors are mmdet's in all that is not said here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ...surgery import attributes
from ...trace.rules import penalty, sizes
from .. import mmdet
from ..package import SAMPLES, Batch, Shape, count_classes, plain
from .small_scene import shrink_scene

# What its heads return for later stages, under `mode='tensor'`.
HANDED_ON = (
    'seed_features',
    'vote_features',
    'aggregated_features',
    'query_points_feature',
)
# It compares kernels by products of their weights: of zeros they are zero.
penalty(
    'mmdet3d.models.losses.paconv_regularization_loss.PAConvRegularizationLoss'
)


@attributes('mmdet3d.models.layers.paconv.paconv.PAConv')
def kernel_bank(module: nn.Module) -> dict[str, int]:
    """(in, kernels * out): one block of columns per kernel."""
    into, out = module.weight_bank.shape
    return {'in_channels': into, 'out_channels': out // module.num_kernels}


@sizes('mmdet3d.models.middle_encoders.pillar_scatter.PointPillarsScatter')
def pillar_scatter(module, args):
    """It allocates its canvas by `in_channels`, the pillars' channels."""
    return {'in_channels': [(args[0], 1)]}


def generated(model: nn.Module, config: Config, shape: Shape) -> Batch:
    """Scenes as the training pipeline of the config packs them."""
    from .clouds import generated_scenes, scene_layout

    layout = scene_layout(config)
    return generated_scenes(layout, count_classes(model), shape, SAMPLES)


def results(output: Any) -> Any:
    """Without the features that heads on points hand on beside results."""
    if isinstance(output, dict):
        output = {k: v for k, v in output.items() if k not in HANDED_ON}
    return plain(output)


def as_tested(model: nn.Module, batch: Batch) -> Batch:
    """A training batch as segmentors take it in testing.

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


PACKAGE = replace(
    mmdet.PACKAGE,
    requirement='mmdet3d>=1.4,<1.5',
    batch=generated,
    as_tested=as_tested,
    plain=results,
    unit=lambda shape: 'one generated scene',
    shrink=shrink_scene,
)
