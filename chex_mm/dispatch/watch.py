"""Watching the operators of a model while it runs.

A watch sees every operator that torch dispatches and changes none.
"""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class Watch(TorchDispatchMode):
    """A dispatch mode that costs little per operator."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: else torch imports its compiler at the first operator.

        That takes seconds, and a wrapper around every operator. Nothing in
        a watch is ever compiled. Older versions of torch do not ask.
        """
        return False
