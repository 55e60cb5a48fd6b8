"""What an analysis does to a model that nobody trained."""

import copy

import torch
from torch import nn

from chex_mm.adopt.analysis import draw_vectors


class Scaled(nn.Module):
    """Leaves its scales to init_weights(), as mmdet's L2Norm does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.scale = nn.Parameter(torch.full((4,), float('nan')))
        self.table = nn.Parameter(torch.zeros(4, 4))


def test_vectors_without_a_reset_are_drawn():
    model = Scaled()
    before = copy.deepcopy(model.state_dict())
    draw_vectors(model)
    drawn = model.state_dict()
    assert ((0.5 <= drawn['scale']) & (drawn['scale'] <= 1.5)).all()
    assert len(drawn['scale'].unique()) == 4
    for name in before.keys() - {'scale'}:
        assert torch.equal(drawn[name], before[name])
