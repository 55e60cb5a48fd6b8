"""No mask makes what is not a number, in training neither."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import chex_mm
from chex_mm.trace.finite import spoils_zeros

from .test_vanishing import ANY, ZERO
from .toy_networks import conv

aten = torch.ops.aten
SPACE = {'dim': (2, 3), 'keepdim': True}


class Net(nn.Module):
    def __init__(self, operator):
        super().__init__()
        self.a, self.b, self.o = conv(3, 8), conv(8, 8), conv(8, 2)
        self.norm, self.operator = nn.BatchNorm2d(8), operator

    def forward(self, x):
        x = self.operator(F.relu(self.norm(self.a(x))))
        return self.o(F.relu(self.b(x)))


def spread(y):
    low = y.amin(**SPACE)
    return (y - low) / (y.amax(**SPACE) - low)


SPOILT = {
    'sum': lambda y: y / y.sum(**SPACE),
    'largest': lambda y: y / y.amax(**SPACE),
    'norm': lambda y: y / y.norm(**SPACE),
    'deviation': lambda y: (y - y.mean(**SPACE)) / y.std(**SPACE),
    'itself': lambda y: y / y,
    'log': lambda y: y * y.sum(**SPACE).log(),
    'power': lambda y: (y**-1).clamp(max=9),
    'rsqrt': torch.rsqrt,
    'root, its gradient': torch.sqrt,
    'root in place': lambda y: (y * 1).sqrt_(),
    'small power': lambda y: y.abs().pow(0.5),
    'smallest to largest': spread,
    'instance norm': lambda y: F.instance_norm(y, eps=0),
    'group norm': lambda y: F.group_norm(y, 8, eps=0),
}
FINITE = {
    'softmax': lambda y: y.flatten(2).softmax(2).view(y.shape),
    'normalize': lambda y: F.normalize(y.flatten(2), dim=2).view(y.shape),
    'some more': lambda y: y / (y.sum(**SPACE) + 1e-6),
    'instance norm': F.instance_norm,
    'root of more': lambda y: (y * y + 1e-6).sqrt(),
    'geometric mean': lambda y: (
        y * y.clamp(min=1e-6).pow(3).mean(**SPACE).pow(1 / 3)
    ),
    'deviation': lambda y: y * y.std(**SPACE),
    'half norm': lambda y: y * torch.linalg.vector_norm(y, 0.5, **SPACE),
    'two-norm': lambda y: y * y.norm(**SPACE),
}


def traced(operator):
    torch.manual_seed(0)
    model, x = Net(operator), torch.randn(4, 3, 6, 6)
    return model, x, chex_mm.trace_channels(model, (x[:2],))


@pytest.mark.parametrize('name', SPOILT)
def test_channels_that_would_be_spoilt_are_pinned(name):
    _, _, graph = traced(SPOILT[name])
    assert list(graph.free) == ['b']
    assert 'not finite' in graph.groups['a'].pinned


@pytest.mark.parametrize('name', FINITE)
def test_what_is_finite_is_free_and_trains(name):
    model, x, graph = traced(FINITE[name])
    assert list(graph.free) == ['a', 'b']
    keep = {n: torch.arange(g.size) % 2 == 0 for n, g in graph.free.items()}
    masked = copy.deepcopy(model)
    chex_mm.mask_channels(masked, graph, keep)
    narrow = chex_mm.slim(model, graph, keep)
    torch.testing.assert_close(masked(x), narrow(x), atol=1e-5, rtol=1e-4)
    masked(x).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in masked.parameters())


@pytest.mark.parametrize('execution', ['masked', 'compact'])
@pytest.mark.parametrize(
    'operator', [SPOILT['sum'], *map(FINITE.get, ('normalize', 'two-norm'))]
)
def test_training_stays_finite(operator, execution):
    model, x, graph = traced(operator)
    optimizer = torch.optim.SGD(model.parameters(), 0.001)
    explorer = chex_mm.ChannelExplorer(
        model, graph, chex_mm.Budget('flops', 0.8), 3, execution=execution
    )
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        assert all(p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        explorer.enforce()
        explorer.step(optimizer)


@pytest.mark.parametrize(
    ('op', 'arguments', 'expected'),
    [
        (aten.div.Tensor, {'self': ZERO, 'other': ANY}, False),
        (aten.div.Tensor, {'self': ANY, 'other': ZERO}, True),
        (aten.sqrt.default, {'self': ZERO}, True),
        (aten.abs.default, {'self': ZERO}, False),
        (aten.acosh.default, {'self': ZERO}, True),
        (aten.relu_.default, {'self': ZERO}, False),
    ],
)
def test_an_operator_is_tried_on_zeros(op, arguments, expected):
    assert spoils_zeros(op, tuple(arguments.items())) == expected


@pytest.mark.parametrize('mode', [True, False])
def test_operators_that_write_elsewhere_are_tried(mode):
    norm = nn.utils.parametrizations.spectral_norm
    model = nn.Sequential(norm(nn.Linear(3, 8)), nn.ReLU(), nn.Linear(8, 2))
    graph = chex_mm.trace_channels(model.train(mode), (torch.randn(4, 3),))
    assert all(group.pinned for group in graph.groups.values())
