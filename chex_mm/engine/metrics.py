"""How often a shape is told right; mmengine and mmdet3d do not count it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS


@METRICS.register_module()
class ShapeAccuracy(BaseMetric):
    """Accuracy over all shapes, and its mean over the classes.

    The two published figures of ModelNet: `accuracy`, and `class_accuracy`,
    in which classes with few shapes count as much as the others.
    """

    default_prefix = 'shape'

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps the true and the found class of every shape."""
        self.results += [
            tuple(
                int(sample[key]['labels_3d'])
                for key in ('gt_instances_3d', 'pred_instances_3d')
            )
            for sample in data_samples
        ]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Both figures, from 0 to 1."""
        true, found = np.array(results).T
        right = true == found
        by_class = [right[true == label].mean() for label in np.unique(true)]
        return {
            'accuracy': float(right.mean()),
            'class_accuracy': float(np.mean(by_class)),
        }
