"""What chex_mm has to know of mmdet3d; imported where mmdet3d is installed."""

from __future__ import annotations

from mmdet3d.models.layers.paconv import PAConv
from mmdet3d.models.losses import PAConvRegularizationLoss

from ..surgery import attributes
from ..trace.rules import penalty

# It compares kernels by products of their weights: of zeros they are zero.
penalty(PAConvRegularizationLoss)


@attributes(PAConv)
def kernel_bank(module: PAConv) -> dict[str, int]:
    """(in, kernels * out): one block of columns per kernel."""
    into, out = module.weight_bank.shape
    return {'in_channels': into, 'out_channels': out // module.num_kernels}
