"""The geometry of work is that of the layers, and gives its multiply-adds."""

import math

import pytest
import torch
from torch import nn

import chex_mm
from chex_mm.graph.cost import Geometry
from chex_mm.graph.state import graph_from_state, graph_state

LAYERS = {
    'plain': (
        nn.Conv2d(4, 8, 3, stride=2, padding=1),
        (2, 4, 9, 9),
        Geometry((3, 3), (2, 2), 1, (2, 5, 5)),
    ),
    'depthwise, uneven': (
        nn.Conv2d(4, 4, (1, 5), groups=4),
        (2, 4, 9, 9),
        Geometry((1, 5), (1, 1), 4, (2, 9, 5)),
    ),
    'grouped, of sequences': (
        nn.Conv1d(4, 8, 3, groups=2),
        (2, 4, 9),
        Geometry((3,), (1,), 2, (2, 7)),
    ),
    'transposed': (
        nn.ConvTranspose2d(4, 8, 2, stride=2),
        (2, 4, 3, 3),
        Geometry((2, 2), (2, 2), 1, (2, 6, 6)),
    ),
    'unbatched': (
        nn.Conv2d(4, 8, 1),
        (4, 6, 6),
        Geometry((1, 1), (1, 1), 1, (1, 6, 6)),  # torch adds a sample
    ),
    'linear': (nn.Linear(4, 8), (2, 4), Geometry()),
}


def graph_of(name):
    layer, shape, _ = LAYERS[name]
    return chex_mm.trace_channels(layer.eval(), (torch.randn(shape),))


@pytest.mark.parametrize('name', LAYERS)
def test_the_geometry_is_that_of_the_layer(name):
    (work,) = graph_of(name).work
    assert work.geometry == LAYERS[name][2]


@pytest.mark.parametrize(
    'name', sorted(LAYERS.keys() - {'transposed', 'linear'})
)
def test_its_product_is_the_cost_of_a_pair_of_channels(name):
    (work,) = graph_of(name).work
    geometry = work.geometry
    assert work.each == math.prod(geometry.kernel) * math.prod(geometry.out)


@pytest.mark.parametrize('name', LAYERS)
def test_it_is_saved(name):
    graph = graph_of(name)
    state = graph_state(graph)
    assert graph_from_state(state).work[0].geometry == graph.work[0].geometry
    # As version 0.1.0 wrote it.
    state['work'] = [each[:5] for each in state['work']]
    (work,) = graph_from_state(state).work
    assert work.geometry == Geometry()
    assert work.flops(graph.counts()) == graph.flops()
