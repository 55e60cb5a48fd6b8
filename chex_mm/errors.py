"""The exception of chex_mm for an analysis that cannot go on, and its text.

Wrong input (an unknown name, an impossible budget) is a `ValueError`.
"""

from __future__ import annotations


class ChexError(RuntimeError):
    """A model, checkpoint or analysis that chex_mm cannot treat exactly."""


def one_line(error: Exception) -> str:
    """The first line of what an error says, without torch's advice."""
    # KeyError quotes what it says.
    said = error.args[0] if isinstance(error, KeyError) else error
    return f'{said}\n'.partition('\n')[0].partition(' In PyTorch 2.6')[0]
