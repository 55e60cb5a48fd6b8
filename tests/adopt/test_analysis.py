"""What an analysis does to a model that nobody trained."""

import copy

import pytest
import torch
from torch import nn

from chex_mm.adopt.analysis import draw_vectors, settle_norms


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


def test_norms_are_settled_however_they_are_called():
    norm = nn.BatchNorm2d(4)
    x = torch.randn(8, 4, 5, 5) + torch.arange(4.0).view(4, 1, 1)
    settle_norms(norm, lambda model: model(input=x), torch.Generator())
    torch.testing.assert_close(norm.running_mean, x.mean((0, 2, 3)))
    assert not norm._forward_pre_hooks


def test_a_run_that_fails_leaves_no_hooks():
    norm = nn.BatchNorm2d(4)
    with pytest.raises(ValueError, match='expected 4D input'):
        settle_norms(norm, lambda m: m(torch.zeros(2, 4)), torch.Generator())
    assert not norm._forward_pre_hooks
