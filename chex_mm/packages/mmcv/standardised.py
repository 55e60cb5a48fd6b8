"""What chex_mm has to know of mmcv's standardised kernels.

Their mean and deviation count the columns of the dense kernel, whatever is
left of them.
"""

from __future__ import annotations

from mmcv.cnn.bricks.conv_ws import ConvAWS2d, ConvWS2d

from ...engine.models import slim_kernels  # noqa: F401  (makes the next line true)
from ...surgery import attributes
from ...surgery import convolution as convolution_attributes
from ...trace.rules import standardiser

standardiser(ConvWS2d, ConvAWS2d)


@attributes(ConvWS2d, ConvAWS2d)
def standardised_convolution(module):
    """Sizes of a convolution, and the columns that its kernel has lost."""
    before = module.in_channels // module.groups
    missing = module.missing_columns + before - module.weight.shape[1]
    return {**convolution_attributes(module), 'missing_columns': missing}
