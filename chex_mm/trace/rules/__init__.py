"""The rule table: one rule per operator, nothing guessed from names.

A rule is `rule(flow, call) -> labels`. It sees the operator's arguments by
their schema names in `call[...]`, reads labels with `flow.labels`,
`flow.vector` and `flow.axis`, states facts with `flow.tie`, `flow.pin` and
`flow.count`, and returns the labels of the output: a tensor of its shape,
None for no channels, or one of these per output of a multi-output operator.
`NotImplemented` says that this call is not understood: what it touches is
pinned and the operator is reported.
"""

from . import (  # noqa: F401  (fill the tables)
    directions,
    movement,
    norms,
    pointwise,
    positions,
    products,
    recurrent,
    reductions,
    regions,
    sampling,
    spectra,
    vanishing,
    writing,
)
from .table import (
    PENALTIES,
    RULES,
    SIZES,
    STANDARDISERS,
    ZEROS,
    is_penalty,
    penalty,
    rule,
    sizes,
    standardiser,
    zeros,
)

__all__ = [
    'PENALTIES',
    'RULES',
    'SIZES',
    'STANDARDISERS',
    'ZEROS',
    'is_penalty',
    'penalty',
    'rule',
    'sizes',
    'standardiser',
    'zeros',
]
