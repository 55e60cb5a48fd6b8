"""Attributes follow tensors, for every type in the table."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from chex_mm.surgery import ATTRIBUTES, attributes, slim
from chex_mm.surgery.modules import fitting_attributes

from . import hand_graphs

# type: [(case, module, attributes when channel 0 alone is kept)]
EXPECTED = {
    _ConvNd: [
        ('batch_norm', 'one', (3, 1, 1)),
        ('batch_norm', 'two', (1, 4, 1)),
        ('one_input_channel', 'one', (1, 1, 1)),
        ('grouped', 'one', (3, 2, 1)),
        ('grouped', 'two', (2, 2, 2)),
        ('depthwise', 'two', (1, 2, 1)),
        ('transposed', 'two', (1, 1, 1)),
        ('transposed_grouped', 'two', (2, 2, 2)),
        ('transposed_depthwise', 'two', (1, 1, 1)),
    ],
    nn.Linear: [
        ('linear', 'one', (5, 1)),
        ('flatten_linear', 'two', (16, 3)),
    ],
    nn.Embedding: [('embedding', 'words', (5, 1))],
    _BatchNorm: [
        ('batch_norm', 'norm', (1,)),
        ('sync_batch_norm', 'norm', (1,)),
        ('statistics_only', 'norm', (1,)),
    ],
    _InstanceNorm: [('instance_norm', 'norm', (1,))],
    nn.GroupNorm: [('group_norm', 'norm', (3, 1))],
    nn.PReLU: [('linear', 'slope', (1,))],
    nn.RNNBase: [('recurrent_layer', 'two', (1,))],
    nn.RNNCellBase: [('recurrent_cell', 'two', (1,))],
}
NAMES = {
    _ConvNd: ('in_channels', 'out_channels', 'groups'),
    nn.Linear: ('in_features', 'out_features'),
    nn.Embedding: ('num_embeddings', 'embedding_dim'),
    _BatchNorm: ('num_features',),
    _InstanceNorm: ('num_features',),
    nn.GroupNorm: ('num_channels', 'num_groups'),
    nn.PReLU: ('num_parameters',),
    nn.RNNBase: ('input_size',),
    nn.RNNCellBase: ('input_size',),
}


@pytest.mark.parametrize(
    'kind',
    [
        t
        for t in ATTRIBUTES
        if isinstance(t, type) and t.__module__.startswith('torch.')
    ],
    ids=lambda kind: kind.__name__,
)
def test_every_type(kind):
    for case, path, sizes in EXPECTED[kind]:
        model, _, graph = hand_graphs.build(getattr(hand_graphs, case))
        keep = {
            name: torch.arange(group.size) == 0
            for name, group in graph.groups.items()
        }
        module = slim(model, graph, keep).get_submodule(path)
        assert isinstance(module, kind)
        found = {name: getattr(module, name) for name in NAMES[kind]}
        assert found == dict(zip(NAMES[kind], sizes)), (case, path)
        assert fitting_attributes(module) == found, 'not idempotent'


def test_most_specific_type_wins():
    class Inner(nn.Linear):
        pass

    class Outer(Inner):
        pass

    @attributes(Inner)
    def inner(module):
        return {'width': len(module.weight)}

    try:
        assert fitting_attributes(Outer(3, 2)) == {'width': 2}
        assert fitting_attributes(nn.Linear(3, 2)) == {
            'in_features': 3,
            'out_features': 2,
        }
    finally:
        del ATTRIBUTES[Inner]


def test_no_entry_means_no_attributes():
    assert fitting_attributes(nn.ReLU()) == {}


def test_a_type_is_registered_once():
    with pytest.raises(ValueError) as error:

        @attributes(nn.Linear)
        def mine(module):
            return {}

    assert str(error.value) == (
        'Linear has the attributes chex_mm.surgery.modules.linear already; '
        f'{__name__}.mine cannot be a second one. Register it under another '
        'key.'
    )
