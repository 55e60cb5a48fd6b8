"""The one exception of chex_mm for an analysis that cannot go on.

Wrong input (an unknown name, an impossible budget) is a `ValueError`.
"""


class ChexError(RuntimeError):
    """A model, checkpoint or analysis that chex_mm cannot treat exactly."""
