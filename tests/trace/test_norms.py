"""Norms follow what they normalise, also those without vectors."""

import copy

import pytest
import torch
from torch import nn

import chex_mm
from chex_mm.trace.cuts import random_masks

LAYERS = {
    1: (nn.Conv1d, nn.InstanceNorm1d),
    2: (nn.Conv2d, nn.InstanceNorm2d),
    3: (nn.Conv3d, nn.InstanceNorm3d),
}


class Normed(nn.Module):
    def __init__(self, dims, width=None, **settings):
        super().__init__()
        conv, norm = LAYERS[dims]
        self.a, self.norm = conv(3, 8, 1), norm(width or 8, **settings)
        self.o = conv(8, 2, 1)

    def forward(self, x):
        return self.o(self.norm(self.a(x)).relu())


@pytest.mark.parametrize('has_batch', [True, False])
@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('tracked', [True, False])
@pytest.mark.parametrize('dims', LAYERS)
def test_the_number_of_features_follows(dims, tracked, affine, has_batch):
    torch.manual_seed(0)
    model = Normed(dims, affine=affine, track_running_stats=tracked)
    x = torch.randn(*([2] if has_batch else []), 3, *[4] * dims)
    graph = chex_mm.trace_channels(model, (x,))
    assert set(graph.free) == {'a'}
    keep = random_masks(graph)
    narrow = chex_mm.slim(model, graph, keep)
    masked = copy.deepcopy(model)
    chex_mm.mask_channels(masked, graph, keep)
    # A number that does not fit is a warning, which is an error here.
    assert torch.allclose(narrow(x), masked(x), atol=1e-5)
    assert narrow.norm.num_features == int(keep['a'].sum()) < 8
    assert model.norm.num_features == 8


@pytest.mark.filterwarnings('ignore:input.s size at dim=1 does not match')
def test_a_number_that_never_fitted_stays():
    model, x = Normed(2, 5), torch.randn(2, 3, 4, 4)
    graph = chex_mm.trace_channels(model, (x,))
    narrow = chex_mm.slim(model, graph, random_masks(graph))
    assert narrow(x).shape == (2, 2, 4, 4)
    assert narrow.norm.num_features == 5
