"""Making a model narrow: masks, cuts, slim specs and their verification.

Whatever is cut gives the outputs of the masked model, or is refused.
"""

from .compare import Difference, compare
from .cut import cut_channels, mask_channels, slim
from .modules import (
    ATTRIBUTES,
    UnknownModule,
    attributes,
    convolution,
    fitting_attributes,
)
from .rounding import NOISE, rounding
from .spec import SlimSpec, describe, narrow_

__all__ = [
    'ATTRIBUTES',
    'NOISE',
    'Difference',
    'SlimSpec',
    'UnknownModule',
    'attributes',
    'compare',
    'convolution',
    'cut_channels',
    'describe',
    'fitting_attributes',
    'mask_channels',
    'narrow_',
    'rounding',
    'slim',
]
