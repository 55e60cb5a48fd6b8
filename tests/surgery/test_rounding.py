"""How far rounding moves outputs, against the arithmetic of a difference."""

import pytest
import torch
from torch import nn

from chex_mm.surgery import rounding
from chex_mm.surgery.rounding import moved

EPS = torch.finfo(torch.float32).eps


class Difference(nn.Module):
    """What is left of two numbers `factor` times as large: one."""

    def __init__(self, factor):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0 + factor))
        self.register_buffer('other', torch.tensor(float(factor)))

    def forward(self):
        return self.weight - self.other


@pytest.mark.parametrize('factor', [0, 2**6, 2**12])
def test_what_cancels_is_moved_by_as_much(factor):
    found = rounding(Difference(factor), lambda model: model())
    # The weight moves by its last digit, up or down by one or two of them.
    assert found.max_abs == pytest.approx(EPS * (1 + factor), rel=0.6)
    assert found.max_rel == found.max_abs


def test_weights_move_by_their_last_digit_and_the_model_stays():
    model = nn.Linear(64, 64)
    before = model.weight.clone()
    other = moved(nn.Linear(64, 64))
    rounding(model, lambda each: each(torch.ones(1, 64)))
    assert torch.equal(model.weight, before)
    other.load_state_dict(model.state_dict())
    moved(other)
    apart = (other.weight / before - 1).abs()
    assert 0 < apart.min() and apart.max() < 2.5 * EPS
    up = (other.weight.abs() > before.abs()).float().mean()
    assert 0.4 < up < 0.6
