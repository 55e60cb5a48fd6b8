"""What a layer that could not be traced may read is not cut."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from chex_mm.errors import ChexError
from chex_mm.surgery import cut_channels, mask_channels, slim

from .hand_graphs import build, flatten_linear, shared

HALF = torch.tensor([True, False] * 4)


def in_doubt(case, **shapes):
    """A case with layers that nothing is known of but their shapes."""
    model, _, graph = build(case)
    for name, shape in shapes.items():
        layer = nn.Module()
        layer.weight = nn.Parameter(torch.zeros(shape))
        model.add_module(name, layer)
    names = tuple(f'{name}.weight' for name in shapes)
    known = dict(zip(names, shapes.values()))
    return model, replace(
        graph,
        shapes={**graph.shapes, **known},
        parameters=graph.parameters | set(names),
        doubtful=names,
    )


def test_it_is_refused_before_anything_is_cut():
    model, graph = in_doubt(shared, aux=(2, 8, 1, 1), last=(2, 5))
    before = [p.shape for p in model.parameters()]
    for cut in (slim, cut_channels):
        with pytest.raises(ChexError) as error:
            cut(model, graph, {'one': HALF})
        assert str(error.value) == (
            'aux may read one, to be cut, in a mode of the model in which it '
            'could not be run; trace a pass that it can run there as well: '
            'chex_mm.trace_channels(model, inputs, also=[run]), where '
            'run(model) uses these layers.'
        )
    assert [p.shape for p in model.parameters()] == before


def test_masks_are_no_cut():
    model, graph = in_doubt(shared, aux=(2, 8, 1, 1))
    mask_channels(model, graph, {'one': HALF})
    assert not model.one.weight[~HALF].any()


def test_other_lengths_and_uncut_groups_are_no_matter():
    model, graph = in_doubt(shared, aux=(2, 8, 1, 1))
    keep = {'one': HALF | True, 'tower': torch.arange(6) < 3}
    assert slim(model, graph, keep).tower.weight.shape == (3, 8, 3, 3)
    model, graph = in_doubt(shared, aux=(9, 5, 7, 7))
    assert slim(model, graph, {'one': HALF}).one.out_channels == 4


def test_a_flattened_map_is_longer():
    model, graph = in_doubt(flatten_linear, aux=(2, 96))
    assert graph.groups['one'].size == 6
    with pytest.raises(ChexError, match='aux may read one'):
        slim(model, graph, {'one': torch.arange(6) < 2})


def test_a_long_list_is_cut_short():
    many = {f'aux{i}': (2, 8) for i in range(7)}
    model, graph = in_doubt(shared, **many)
    with pytest.raises(ChexError, match=r'aux3, aux4 and 2 more may read'):
        slim(model, graph, {'one': HALF})
