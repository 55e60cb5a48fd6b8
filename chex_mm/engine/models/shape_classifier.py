"""PointNet++ that tells what one shape is; mmdet3d has no such model.

Backbone, set abstraction and data samples are mmdet3d's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet3d.models.layers import build_sa_module
from mmdet3d.registry import MODELS as MODELS_3D
from mmdet3d.structures import Det3DDataSample
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional


@MODELS.register_module()
class ShapeClassifier(BaseModel):
    """A backbone of points, one pool over all that it finds, and a head.

    Args:
        backbone: Config of one with `sa_xyz` and `sa_features`, such as
            mmdet3d's PointNet2SASSG.
        pool_channels: Widths of the shared MLP before the pool; the first is
            that of the backbone's last features.
        classes: Number of outputs.
        head_channels: Widths of the layers between pool and outputs.
        dropout: Share of a head layer that a training step leaves out.
        data_preprocessor: As of mmdet3d.
        init_cfg: As of mmengine.
    """

    def __init__(
        self,
        backbone: dict,
        pool_channels: Sequence[int],
        classes: int,
        head_channels: Sequence[int] = (),
        dropout: float = 0.4,
        **options: Any,
    ):
        options.setdefault(
            'data_preprocessor', dict(type='mmdet3d.Det3DDataPreprocessor')
        )
        super().__init__(**options)
        self.num_classes = classes
        self.backbone = MODELS_3D.build(backbone)
        # Without a number of points, set abstraction takes all of them.
        self.pool = build_sa_module(
            dict(type='PointSAModule'),
            num_point=None,
            mlp_channels=list(pool_channels),
        )
        layers, width = [], pool_channels[-1]
        for wider in head_channels:
            layers += _layer(width, wider, dropout)
            width = wider
        self.head = nn.Sequential(*layers, nn.Linear(width, classes))

    def forward(
        self,
        inputs: dict,
        data_samples: list[Det3DDataSample] | None = None,
        mode: str = 'tensor',
    ) -> Tensor | dict[str, Tensor] | list[Det3DDataSample]:
        """What `mode` asks for.

        Args:
            inputs: `points`, one (points, 3 + features) tensor per shape.
            data_samples: With `gt_instances_3d.labels_3d`, for 'loss'.
            mode: 'tensor' for (shapes, classes) logits, 'loss', or 'predict'
                for the samples, each with one instance that was found.

        Raises:
            ValueError: There is no such mode.
        """
        logits = self._logits(torch.stack(inputs['points']))
        if mode == 'tensor':
            return logits
        if mode == 'loss':
            return self._loss(logits, data_samples)
        if mode == 'predict':
            return self._predictions(logits, data_samples)
        raise ValueError(
            f"mode={mode!r} is none of 'tensor', 'loss', 'predict'"
        )

    def _logits(self, points: Tensor) -> Tensor:
        found = self.backbone(points)
        _, features, _ = self.pool(
            found['sa_xyz'][-1], found['sa_features'][-1]
        )
        return self.head(features.squeeze(-1))

    def _loss(self, logits: Tensor, data_samples) -> dict[str, Tensor]:
        labels = torch.cat([s.gt_instances_3d.labels_3d for s in data_samples])
        return {'loss': functional.cross_entropy(logits, labels)}

    def _predictions(self, logits: Tensor, data_samples):
        scores, labels = logits.softmax(-1).max(-1, keepdim=True)
        samples = data_samples or [Det3DDataSample() for _ in logits]
        for sample, score, label in zip(samples, scores, labels):
            sample.pred_instances_3d = InstanceData(
                labels_3d=label, scores_3d=score
            )
        return samples


def _layer(width: int, wider: int, dropout: float) -> list[nn.Module]:
    return [
        nn.Linear(width, wider, bias=False),  # the norm has one
        nn.BatchNorm1d(wider),
        nn.ReLU(),
        nn.Dropout(dropout),
    ]
