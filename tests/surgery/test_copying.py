"""A model in training is copied with what its last pass left behind."""

import copy

import pytest
import torch
from torch import nn

from chex_mm.surgery.copying import copy_of


class Keeper(nn.Module):
    """Keeps its last results, as some heads do."""

    def __init__(self):
        super().__init__()
        self.linear, self.kept = nn.Linear(2, 3), {}

    def forward(self, x):
        self.kept['out'] = [self.linear(x)]
        return self.kept['out'][0]


def test_results_of_the_last_pass_are_copied_as_plain_tensors():
    model = Keeper()
    out = model(torch.ones(1, 2))
    with pytest.raises(RuntimeError, match='deepcopy'):
        copy.deepcopy(model)
    copied = copy_of(model)
    assert torch.equal(copied.kept['out'][0], out)
    assert copied.kept['out'][0].is_leaf
    assert copied.linear.weight is not model.linear.weight
    assert model.kept['out'][0] is out


def test_given_parts_are_taken():
    model, narrow = Keeper(), nn.Parameter(torch.zeros(1, 2))
    copied = copy_of(model, {id(model.linear.weight): narrow})
    assert copied.linear.weight is narrow
