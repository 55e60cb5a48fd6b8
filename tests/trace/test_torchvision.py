"""Networks on the operators of torchvision are cut exactly."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import ops

import chex_mm
from chex_mm.trace.replay import random_masks

BOX = torch.tensor([[0.0, 1, 1, 9, 9], [0, 2, 3, 12, 14]])


class Regions(nn.Module):
    def __init__(self, crop, left=12):
        super().__init__()
        self.a, self.crop = nn.Conv2d(3, 12, 3, padding=1), crop
        self.h, self.o = nn.Linear(left, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = self.crop(F.relu(self.a(x))).mean((2, 3))
        return self.o(F.relu(self.h(x)))


class Deformed(nn.Module):
    def __init__(self, offsets=1, **settings):
        super().__init__()
        self.a = nn.Conv2d(3, 12, 3, padding=1)
        self.f = nn.Conv2d(12, 18 * offsets, 3, padding=1)
        self.d = ops.DeformConv2d(12, 16, 3, padding=1, **settings)
        self.o = nn.Conv2d(16, 3, 1)

    def forward(self, x):
        x = F.relu(self.a(x))
        return self.o(F.relu(self.d(x, self.f(x))))


MODELS = {
    'roi_align': lambda: Regions(lambda y: ops.roi_align(y, BOX, 2)),
    'roi_pool': lambda: Regions(lambda y: ops.roi_pool(y, BOX, 2)),
    'ps_roi_align': lambda: Regions(
        lambda y: ops.ps_roi_align(y, BOX, (2, 1)), 6
    ),
    'ps_roi_pool': lambda: Regions(
        lambda y: ops.ps_roi_pool(y, BOX, (2, 1)), 6
    ),
    'deformed': Deformed,
    'deformed, no bias': lambda: Deformed(bias=False),
    'deformed in groups': lambda: Deformed(2, groups=2),
}


@pytest.mark.parametrize('name', MODELS)
def test_masked_is_narrow(name):
    torch.manual_seed(0)
    model, x = MODELS[name]().eval(), torch.randn(1, 3, 16, 16)
    graph = chex_mm.trace_channels(model, (x,), strict=True)
    assert len(graph.free) == 2
    for seed in range(3):
        keep = random_masks(graph, seed)
        masked = copy.deepcopy(model)
        chex_mm.mask_channels(masked, graph, keep)
        narrow = chex_mm.slim(model, graph, keep)
        torch.testing.assert_close(narrow(x), masked(x), rtol=1e-4, atol=1e-5)


def test_attributes_follow():
    model = Deformed().eval()
    graph = chex_mm.trace_channels(model, (torch.randn(1, 3, 16, 16),))
    narrow = chex_mm.slim(model, graph, random_masks(graph))
    assert narrow.d.out_channels == len(narrow.d.weight) < 16
    assert narrow.d.in_channels == narrow.d.weight.shape[1] < 12
