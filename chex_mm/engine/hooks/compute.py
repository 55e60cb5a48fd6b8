"""What a run has cost so far, beside what dense training would have.

An iteration counts as the multiply-adds of the model that ran it: forward and
backward pass both grow with them.
"""

from __future__ import annotations

from ...graph.groups import count_active
from ...strategies.exploration import ChannelExplorer


def flops_share(explorer: ChannelExplorer) -> float:
    """FLOPs of the sub-model over those of the dense model."""
    counts = count_active(explorer.keep)
    return explorer.graph.flops(counts) / max(explorer.graph.flops(), 1)


class TrainingCompute:
    """Training compute, in iterations of the dense model."""

    def __init__(self):
        self.iterations = 0
        self.spent = 0.0

    @property
    def share(self) -> float:
        """What was spent over what dense training would have taken."""
        return self.spent / self.iterations if self.iterations else 1.0

    def add(self, share: float) -> None:
        """Counts an iteration of a model of that share of the FLOPs."""
        self.iterations += 1
        self.spent += share

    def state_dict(self) -> dict:
        return {'iterations': self.iterations, 'spent': self.spent}

    def load_state_dict(self, state: dict) -> None:
        self.iterations, self.spent = state['iterations'], state['spent']
