"""What is known of mmdet, by name: it is imported where a batch is made.

A region's corners are real numbers that grow with the exponent of what a head
computes: rounding moves them, and what is cropped there moves more than
rounding explains. So a narrow two-stage detector gets the regions of the
masked one, and what its heads compute is an output of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..dispatch.randomness import fixed_random_state
from ..errors import ChexError
from ..registry import key_in
from ..surgery import attributes
from ..trace.rules import sizes
from .package import (
    SAMPLES,
    Batch,
    Package,
    Run,
    Shape,
    count_classes,
    own_preprocessor,
)

HEADS = 'mmdet.models.roi_heads'
DENSE_HEADS = 'mmdet.models.dense_heads'
PREPROCESSORS = 'mmdet.models.data_preprocessors'
CROPPER = f'{HEADS}.roi_extractors.base_roi_extractor.BaseRoIExtractor'
BBOX_HEAD = f'{HEADS}.bbox_heads.bbox_head.BBoxHead'
RPN_STAGE = f'{DENSE_HEADS}.cascade_rpn_head.StageCascadeRPNHead'
DENSE_HEAD = f'{DENSE_HEADS}.base_dense_head.BaseDenseHead'
RANDOM_SIZE = f'{PREPROCESSORS}.data_preprocessor.BatchSyncRandomResize'
BRANCHES = f'{PREPROCESSORS}.data_preprocessor.MultiBranchDataPreprocessor'
VIDEOS = f'{PREPROCESSORS}.track_data_preprocessor.TrackDataPreprocessor'


def is_a(thing: Any, *names: str) -> bool:
    """Whether an object is of one of the types with these full names."""
    return key_in(names, type(thing)) is not None


# Modules ---------------------------------------------------------------------


@attributes('mmdet.models.necks.ssd_neck.L2Norm')
def l2_norm(module):
    """Width of a norm with one scale per channel."""
    return {'n_dims': len(module.weight)}


@sizes(CROPPER)
def roi_extractor(module, args):
    """It allocates its output by `out_channels`, the features' channels."""
    return {'out_channels': [(args[0][0], 1)]}


@sizes(f'{HEADS}.roi_extractors.generic_roi_extractor.GenericRoIExtractor')
def convolving_roi_extractor(module, args):
    """The same, or the channels of the convolution that follows at once."""
    before = module.pre_module if module.with_pre else None
    if is_a(before, 'mmcv.cnn.bricks.conv_module.ConvModule'):
        return {'out_channels': [(before.conv.weight, 0)]}
    return roi_extractor(module, args)


@sizes('mmdet.models.backbones.res2net.Bottle2neck')
def res2net_block(module, args):
    """It splits into pieces of `width`, which its convolutions read."""
    return {'width': [(module.convs[0].weight, 1)]}


@sizes('mmdet.models.layers.se_layer.DyReLU')
def dynamic_relu(module, args):
    """It splits four coefficients per channel of its input."""
    return {'channels': [(args[0], 1)]}


@sizes(f'{DENSE_HEADS}.tood_head.TaskDecomposition')
def task_decomposition(module, args):
    """One number for what it computes and for what each layer gives it."""
    kernel = module.reduction_conv.conv.weight  # (out, layers * out, 1, 1)
    by_layer = kernel.view(len(kernel), module.stacked_convs, -1)
    return {
        'feat_channels': [(kernel, 0), (by_layer, 2)],
        'in_channels': [(kernel, 1)],
    }


# Data ------------------------------------------------------------------------


def generated(model: nn.Module, config: Any, shape: Shape) -> Batch:
    """Images of noise with boxes, or videos of two frames for a tracker."""
    if is_a(model.data_preprocessor, VIDEOS):
        return _videos(model, shape)
    return _images(model, shape)


def _images(model: nn.Module, shape: Shape) -> Batch:
    from mmdet.testing import demo_mm_inputs

    with fixed_random_state():
        batch = demo_mm_inputs(
            batch_size=SAMPLES,
            image_shapes=[(3, *shape)] * SAMPLES,
            with_mask=_learns_masks(model),
            with_semantic=_reads(model, 'pad_seg', 'with_semantic'),
        )
    classes = count_classes(model)
    for sample in batch['data_samples']:
        sample.gt_instances.labels %= classes
        if getattr(model, 'with_rpn', True) is False:  # regions are data
            boxes = sample.gt_instances.bboxes
            sample.proposals = InstanceData(
                bboxes=boxes.clone(), scores=torch.ones(len(boxes))
            )
    return batch


def _videos(model: nn.Module, shape: Shape) -> Batch:
    """A frame that is tracked from, and one that it is looked for in."""
    from mmdet.testing import demo_track_inputs

    with fixed_random_state():
        return demo_track_inputs(
            batch_size=SAMPLES,
            num_frames=2,
            key_frames_inds=[0],
            image_shapes=[(3, *shape)] * SAMPLES,
            num_classes=count_classes(model),
            with_mask=_learns_masks(model),
        )


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


def lone_preprocessor(model: nn.Module) -> nn.Module:
    """A copy of the model's preprocessor, of one size and without other ranks.

    Raises:
        ChexError: It makes batches for a student and its teacher.
    """
    if is_a(model.data_preprocessor, BRANCHES):
        raise ChexError(
            f'{type(model).__name__} learns from branches of a batch '
            f'({type(model.data_preprocessor).__name__}): its student is '
            'averaged into a teacher, and CHEX explores one network. Explore '
            'the detector alone: model=cfg.model.detector.'
        )
    preprocess = own_preprocessor(model)
    augments = getattr(preprocess, 'batch_augments', None)
    if isinstance(augments, nn.ModuleList):
        # Random sizes are agreed on with other ranks, by the iteration.
        preprocess.batch_augments = nn.ModuleList(
            augment for augment in augments if not is_a(augment, RANDOM_SIZE)
        )
    return preprocess


# Two stages ------------------------------------------------------------------


class SharedRegions:
    """Runs a detector; from the second on, on the regions of the first.

    Args:
        run: Runs a model.
    """

    def __init__(self, run: Run):
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
        croppers = [m for m in modules if is_a(m, CROPPER)]
        heads = [m for m in modules if is_a(m, DENSE_HEAD, BBOX_HEAD)]
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
    if is_a(head, RPN_STAGE):
        return output[1:]
    return output[:2] if is_a(head, BBOX_HEAD) else output


PACKAGE = Package(
    requirement='mmdet>=3.3,<3.4',
    batch=generated,
    preprocessor=lone_preprocessor,
    shared=SharedRegions,
)
