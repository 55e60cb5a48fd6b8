"""What chex_mm has to know of mmdet; imported where mmdet is installed."""

from __future__ import annotations

from mmcv.cnn import ConvModule
from mmdet.models.backbones.res2net import Bottle2neck
from mmdet.models.dense_heads import SSDHead
from mmdet.models.dense_heads.tood_head import TaskDecomposition
from mmdet.models.layers import DyReLU
from mmdet.models.necks.ssd_neck import L2Norm
from mmdet.models.roi_heads.roi_extractors import (
    BaseRoIExtractor,
    GenericRoIExtractor,
)

from ..surgery import attributes
from ..trace.rules import sizes

# mmdet 3.3.0's `AnchorHead.predict` reads `loss_cls`, which its SSDHead does
# not set, so that no SSD can be evaluated. This is the one attribute that
# chex_mm adds to a class of mmdet; a version that has it keeps its own.
if not hasattr(SSDHead, 'loss_cls'):
    SSDHead.loss_cls = None


@attributes(L2Norm)
def l2_norm(module):
    """Width of a norm with one scale per channel."""
    return {'n_dims': len(module.weight)}


@sizes(BaseRoIExtractor)
def roi_extractor(module, args):
    """It allocates its output by `out_channels`, the features' channels."""
    return {'out_channels': [(args[0][0], 1)]}


@sizes(GenericRoIExtractor)
def convolving_roi_extractor(module, args):
    """The same, or the channels of the convolution that follows at once."""
    if module.with_pre and isinstance(module.pre_module, ConvModule):
        return {'out_channels': [(module.pre_module.conv.weight, 0)]}
    return roi_extractor(module, args)


@sizes(Bottle2neck)
def res2net_block(module, args):
    """It splits into pieces of `width`, which its convolutions read."""
    return {'width': [(module.convs[0].weight, 1)]}


@sizes(DyReLU)
def dynamic_relu(module, args):
    """It splits four coefficients per channel of its input."""
    return {'channels': [(args[0], 1)]}


@sizes(TaskDecomposition)
def task_decomposition(module, args):
    """One number for what it computes and for what each layer gives it."""
    kernel = module.reduction_conv.conv.weight  # (out, layers * out, 1, 1)
    by_layer = kernel.view(len(kernel), module.stacked_convs, -1)
    return {
        'feat_channels': [(kernel, 0), (by_layer, 2)],
        'in_channels': [(kernel, 1)],
    }
