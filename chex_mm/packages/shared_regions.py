"""Lets two detectors crop and refine the same regions.

A region's corners are real numbers that grow with the exponent of what a head
computes: rounding moves them, and what is cropped there moves more than
rounding explains. So a narrow two-stage detector gets the regions of the
masked one, and what its heads compute is an output of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.dense_heads.cascade_rpn_head import StageCascadeRPNHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from torch import Tensor, nn

HEADS = (BaseDenseHead, BBoxHead)


class SharedRegions:
    """Runs a detector; from the second on, on the regions of the first.

    Args:
        run: Runs a model.
    """

    def __init__(self, run: Callable[[nn.Module], Any]):
        self.run = run
        self.regions: list[Tensor] = []

    def __call__(self, model: nn.Module) -> tuple[Any, list]:
        """What `run` returns, and what the heads of two stages computed."""
        known = iter(self.regions) if self.regions else None
        computed: list = []

        def share(module, args):
            _, regions, *_ = args
            if known is None:
                self.regions.append(regions)
            else:  # in place, so that boxes are refined from there too
                regions.copy_(next(known))

        def collect(module, args, output):
            computed.append(_scores_and_boxes(module, output))

        modules = list(model.modules())
        croppers = [m for m in modules if isinstance(m, BaseRoIExtractor)]
        heads = [m for m in modules if isinstance(m, HEADS)]
        hooks = [m.register_forward_pre_hook(share) for m in croppers]
        if croppers:
            hooks += [m.register_forward_hook(collect) for m in heads]
        try:
            return self.run(model), computed
        finally:
            for hook in hooks:
                hook.remove()


def _scores_and_boxes(head: nn.Module, output: tuple) -> tuple:
    """Without the features that some heads hand on, which may be narrow."""
    if isinstance(head, StageCascadeRPNHead):
        return output[1:]
    return output[:2] if isinstance(head, BBoxHead) else output
