"""Lets two detectors crop the same regions.

A region's corners are real numbers: rounding moves them, and what is cropped
there moves more than rounding explains. With the same regions the outputs of
a narrow two-stage detector can be held against those of the masked one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from torch import Tensor, nn


class SharedRegions:
    """Runs a detector; from the second on, on the regions of the first.

    Args:
        run: Runs a model.
    """

    def __init__(self, run: Callable[[nn.Module], Any]):
        self.run = run
        self.regions: list[Tensor] = []

    def __call__(self, model: nn.Module) -> Any:
        """What `run` returns."""
        known = iter(self.regions) if self.regions else None

        def share(module, args):
            features, regions, *rest = args
            if known is None:
                self.regions.append(regions)
            else:
                regions = next(known)
            return features, regions, *rest

        hooks = [
            module.register_forward_pre_hook(share)
            for module in model.modules()
            if isinstance(module, BaseRoIExtractor)
        ]
        try:
            return self.run(model)
        finally:
            for hook in hooks:
                hook.remove()
