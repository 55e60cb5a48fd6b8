"""Allocation scores: one scale for groups with norms and without."""

import pytest
import torch
from torch import nn

from chex_mm.strategies.scores import SCORES, channel_scores
from chex_mm.submodel.weights import find_tensors, touched_shapes

from ..submodel.hand_built import Chain, Residual, graph_of, group


def score(model, graph=None, off=(), key='scale'):
    graph = graph or model.graph()
    keep = {
        n: torch.ones(g.size, dtype=torch.bool) for n, g in graph.free.items()
    }
    for name, position in off:
        keep[name][position] = False
    tensors = find_tensors(model, touched_shapes(graph, graph.free))
    return channel_scores(key, tensors, graph.free, keep)


def fill(parameter, values):
    with torch.no_grad():
        parameter.copy_(torch.tensor(values).view_as(parameter))


def test_scale_is_the_largest_gamma_of_the_channel():
    model = Residual(stream=3, inner=2)
    fill(model.bn0.weight, [0.5, -2.0, 0.1])
    fill(model.bn2.weight, [0.0, 1.0, -0.3])  # zero_init_residual
    found = score(model)['stem'].tolist()
    assert found == pytest.approx([0.5, 2.0, 0.3])


def test_mean_scale_is_the_mean_over_the_norms():
    model = Residual(stream=3, inner=2)
    fill(model.bn0.weight, [0.5, -2.0, 0.1])
    fill(model.bn2.weight, [0.0, 1.0, -0.3])
    found = score(model, key='mean_scale')['stem'].tolist()
    assert found == pytest.approx([0.25, 1.5, 0.2])


def test_without_a_norm_the_virtual_gamma_has_the_mean_of_all():
    model = Residual(stream=2, inner=2)
    fill(model.bn0.weight, [1.0, 3.0])
    fill(model.bn2.weight, [0.0, 0.0])
    with torch.no_grad():
        model.conv1.weight.fill_(1.0)
        model.conv1.weight[0] *= 7
    found = score(model)['conv1']
    assert found.square().mean().sqrt() == pytest.approx(2.0)  # rms
    assert found[0] / found[1] == pytest.approx(7.0)


def test_all_zero_weights_without_a_norm_are_even():
    model = Residual(stream=2, inner=2)
    nn.init.zeros_(model.conv1.weight)
    assert score(model)['conv1'].tolist() == [1.0, 1.0]


def test_inactive_channels_score_0_and_do_not_count_in_means():
    model = Residual(stream=2, inner=2)
    fill(model.bn0.weight, [9.0, 2.0])
    with torch.no_grad():
        model.conv1.weight.fill_(1.0)
    found = score(model, off=[('stem', 0), ('conv1', 1)])
    assert found['stem'].tolist() == [0.0, 2.0]
    assert found['conv1'].tolist() == pytest.approx([2.0, 0.0])


def test_members_of_a_channel_are_averaged():
    class Grouped(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 1)
            self.gn = nn.GroupNorm(2, 4)

    model = Grouped()
    fill(model.gn.weight, [1.0, -3.0, 0.5, 0.5])
    graph = graph_of(
        model,
        [
            group(
                'conv',
                2,
                ('conv.weight', 0, 'row', 2),
                ('gn.weight', 0, 'scale', 2),
            )
        ],
    )
    assert score(model, graph)['conv'].tolist() == [2.0, 0.5]


def test_no_norm_anywhere():
    model = Chain(2, 2)
    weight = model.fc.weight.shape
    graph = graph_of(model, [group('fc', weight[0], ('fc.weight', 0, 'row'))])
    found = score(model, graph)['fc']
    assert found.square().mean().sqrt() == pytest.approx(1.0)


@pytest.mark.parametrize('key', SCORES)
def test_every_score_gives_finite_values_of_every_group(key):
    model = Residual()
    graph = model.graph()
    keep = {n: torch.arange(g.size) % 2 == 0 for n, g in graph.free.items()}
    tensors = find_tensors(model, touched_shapes(graph, graph.free))
    found = channel_scores(key, tensors, graph.free, keep)
    assert list(found) == list(graph.free)
    for name, values in found.items():
        assert values.dtype == torch.float64 and values.isfinite().all()
        assert not values[~keep[name]].any() and (values >= 0).all()
