"""A slim spec rebuilds a narrow model from a dense one."""

import copy
import json

import pytest
import torch
from torch import nn

from chex_mm.errors import ChexError
from chex_mm.surgery import SlimSpec, describe, narrow_, slim

from .hand_graphs import CASES, batch_norm, build, random_keep, shared


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.__name__)
def test_round_trip(case):
    model, x, graph = build(case)
    narrow = slim(model, graph, random_keep(graph, 1))
    spec = describe(model, narrow)
    spec = SlimSpec(json.loads(json.dumps(spec.channels)))
    fresh = case()[0].eval()
    identity = [id(p) for p in fresh.parameters()]
    assert narrow_(fresh, spec) is fresh
    assert [id(p) for p in fresh.parameters()] == identity
    fresh.load_state_dict(narrow.state_dict(), strict=True)
    assert torch.equal(fresh(x), narrow(x))
    assert repr(fresh) == repr(narrow)
    assert describe(model, fresh) == spec


def test_content():
    model, _, graph = build(batch_norm)
    narrow = slim(model, graph, {'one': torch.arange(8) < 5})
    spec = describe(model, narrow)
    assert spec.channels == {
        'one': {'out_channels': 5, 'weight': (5, 3, 3, 3), 'bias': (5,)},
        'norm': {
            'num_features': 5,
            'weight': (5,),
            'bias': (5,),
            'running_mean': (5,),
            'running_var': (5,),
        },
        'two': {'in_channels': 5, 'weight': (4, 5, 3, 3)},
    }
    assert 'two: in_channels 5, weight (4, 5, 3, 3)' in str(spec)
    assert describe(model, copy.deepcopy(model)) == SlimSpec({})


def test_requires_grad_is_kept():
    model, _, graph = build(shared)
    narrow = slim(model, graph, {'one': torch.arange(8) < 5})
    fresh = shared()[0]
    fresh.one.weight.requires_grad_(False)
    narrow_(fresh, describe(model, narrow))
    assert not fresh.one.weight.requires_grad
    assert fresh.one.bias.requires_grad
    assert fresh.twin.weight is fresh.tower.weight


@pytest.mark.parametrize(
    'channels, message',
    [
        (
            {'onee': {'weight': [1, 3, 3, 3]}},
            "The slim spec has a module 'onee', the Steps has not",
        ),
        (
            {'one': {'weigth': [1, 3, 3, 3]}},
            r"wants weigth = \(1, 3, 3, 3\) of 'one', but the Conv2d there "
            'has None',
        ),
        (
            {'one': {'weight': [9, 3, 3, 3]}},
            r"wants weight = \(9, 3, 3, 3\) of 'one', but the Conv2d there "
            r'has \(8, 3, 3, 3\)',
        ),
        ({'one': {'weight': [8]}}, r'weight = \(8,\)'),
        ({'one': {'weight': 8}}, r'weight = 8 of'),
        ({'one': {'out_channels': 9}}, 'has 8. Build the model from the'),
        ({'one': {'groups': 0}}, "groups = 0 of 'one'"),
    ],
)
def test_impossible_entries(channels, message):
    model = batch_norm()[0]
    with pytest.raises(ValueError, match=message):
        narrow_(model, SlimSpec(channels))
    assert model.one.weight.shape == (8, 3, 3, 3)


def test_what_a_dense_model_counts_from_zero():
    model = batch_norm()[0]
    model.one.missing = 0
    narrow_(model, SlimSpec({'one': {'missing': 5}}))
    assert model.one.missing == 5
    with pytest.raises(ValueError, match="missing = -5 of 'one'"):
        model.one.missing = 0
        narrow_(model, SlimSpec({'one': {'missing': -5}}))


def test_different_models_are_refused():
    with pytest.raises(ValueError, match="Only one .* has 'bias'"):
        describe(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))


def test_a_cut_buffer_must_be_saved():
    dense, narrow = nn.Module(), nn.Module()
    for model, size in ((dense, 4), (narrow, 2)):
        model.register_buffer('mean', torch.zeros(size), persistent=False)
    with pytest.raises(ChexError, match="'mean' is cut, but no checkpoint"):
        describe(dense, narrow)
