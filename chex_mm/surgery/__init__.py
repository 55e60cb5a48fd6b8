"""Making a model narrow: masks, cuts, slim specs and their verification.

Whatever is cut gives the outputs of the masked model, or is refused.
"""

from chex_mm.surgery.cut import cut_channels, mask_channels, slim
from chex_mm.surgery.modules import (
    ATTRIBUTES,
    UnknownModule,
    attributes,
    convolution,
    fitting_attributes,
)
from chex_mm.surgery.rounding import NOISE, rounding
from chex_mm.surgery.spec import SlimSpec, describe, narrow_
from chex_mm.surgery.verification import Difference, compare

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
