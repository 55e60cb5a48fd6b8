"""Numbers of a run: what they are, and what a killed run leaves of them."""

import pytest
import torch
from torch import nn

import chex_mm
from chex_mm.engine.hooks.report import mean_scale
from chex_mm.engine.scalars import read_scalars

WHOLE = '{"loss": 1.0, "step": 1}\n{"loss": NaN, "step": 2}\n'


@pytest.mark.parametrize(
    'torn', ['', '{"loss": 1.', '{', '3', 'null', '{"loss": 2}', '\0\0', 'ö']
)
def test_what_is_no_line_is_left_out(tmp_path, torn):
    path = tmp_path / 'scalars.json'
    path.write_bytes((torn + '\n' + WHOLE + torn).encode('latin-1'))
    assert [line['step'] for line in read_scalars(path)] == [1, 2]


@pytest.mark.parametrize('execution', ['masked', 'compact'])
def test_the_mean_scale_is_that_of_active_channels(execution):
    model = nn.Sequential(
        *(nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 8, 1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Conv2d(8, 2, 1),
    ).eval()
    with torch.no_grad():
        model[1].weight.copy_(-torch.arange(16.0))
        model[4].weight.fill_(100)
    explorer = chex_mm.ChannelExplorer(
        model,
        chex_mm.trace_channels(model, (torch.randn(1, 3, 4, 4),)),
        chex_mm.Budget('flops', keep=0.5),
        total_steps=1,
        execution=execution,
    )
    explorer.step()
    first, second = explorer.keep['0'], explorer.keep['3']
    assert 0 < first.sum() < 16
    total = torch.arange(16.0)[first].sum() + 100 * second.sum()
    expected = float(total / (first.sum() + second.sum()))
    assert mean_scale(explorer) == {'chex/mean_scale': pytest.approx(expected)}


def test_without_norms_there_is_no_mean_scale():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)).eval()
    explorer = chex_mm.ChannelExplorer(
        model,
        chex_mm.trace_channels(model, (torch.randn(1, 3, 4, 4),)),
        chex_mm.Budget('flops', keep=0.5),
        total_steps=1,
    )
    assert mean_scale(explorer) == {}
