"""Layers that only one mode uses follow; others are no false alarm."""

import copy
import warnings

import pytest
import torch
from torch import nn

import chex_mm
from chex_mm.trace.replay import random_masks

from .toy_networks import conv


class Net(nn.Module):
    """Has a head for training and one parameter that nothing uses."""

    def __init__(self):
        super().__init__()
        self.a, self.o = conv(3, 8), conv(8, 2)
        self.aux = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), conv(8, 2))
        self.unused = nn.Parameter(torch.zeros(8))

    def is_aux(self):
        return self.training

    def forward(self, x):
        x = self.a(x).relu()
        return (self.o(x), self.aux(x)) if self.is_aux() else self.o(x)


class InEval(Net):
    def is_aux(self):
        return not self.training


class NeedsTargets(Net):
    def forward(self, x, targets=None):
        if self.training and targets is None:
            raise ValueError('targets are missing')
        return super().forward(x)


X = torch.randn(2, 3, 4, 4)


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('kind', [Net, InEval])
def test_a_head_of_one_mode_follows(kind, train):
    torch.manual_seed(0)
    model = kind().train(train)
    before = copy.deepcopy(model.state_dict())
    graph = chex_mm.trace_channels(model, (X,))
    assert graph.unreached == ['unused']
    assert {s.tensor for s in graph.groups['a'].slices} >= {
        'aux.0.running_mean',
        'aux.2.weight',
    }
    narrow = chex_mm.slim(model, graph, random_masks(graph))
    for mode in True, False:
        assert narrow.train(mode)(X) is not None
    assert model.training == train
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_it_does_not_cost():
    alone, model = Net().eval(), Net().eval()
    alone.is_aux = model.is_aux  # never in training: a plain unused head
    flops = [
        chex_mm.trace_channels(each, (X,)).flops() for each in (model, alone)
    ]
    assert flops[0] == flops[1]


def test_what_cannot_be_run_is_said():
    model = NeedsTargets().eval()
    with pytest.warns(UserWarning, match=r'aux\.0\.bias.*train\(\).*also=\['):
        chex_mm.trace_channels(model, (X,))
    also = [lambda model: model.train()(X, 0)]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        del model.unused
        graph = chex_mm.trace_channels(model, (X,), also=also)
    assert graph.unreached == []


def traced(model, *also):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return chex_mm.trace_channels(model, (X,), also=also)


IN_DOUBT = (
    'aux.0.bias',
    'aux.0.weight',
    'aux.2.bias',
    'aux.2.weight',
    'unused',
)


def test_what_a_mode_that_cannot_be_run_might_use_is_in_doubt():
    graph = traced(NeedsTargets().eval())
    assert graph.doubtful == IN_DOUBT
    assert 'a' in graph.free


def test_what_both_modes_leave_unused_is_in_no_doubt():
    for model in (Net().eval(), Net().train()):
        assert traced(model).doubtful == ()


def test_nor_is_it_where_another_pass_was_in_the_other_mode():
    model = NeedsTargets().eval()
    graph = traced(model, lambda model: model.train()(X, 0))
    assert graph.unreached == ['unused']
    assert graph.doubtful == ()
    assert chex_mm.slim(model, graph, random_masks(graph)) is not None
