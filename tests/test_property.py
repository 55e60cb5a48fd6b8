"""Masked is narrow or refused, for every kind of block and of mask."""

import random

import pytest
import torch

from .random_networks.block import BLOCKS
from .random_networks.recipes import alone, recipe
from .random_networks.verdicts import KINDS_OF_MASKS, Trial, judge, masks

QUICK, ALL, A_TIME = 60, 500, 20
CUTS = 3
LEAVE_OR_ENTER = 3, 5, 4  # channels of a network of one block


def check_recipes(numbers):
    found = {number: judge(recipe(number), CUTS) for number in numbers}
    bad = {
        number: (verdict, recipe(number))
        for number, verdict in found.items()
        if verdict.outcome not in ('held', 'refused')
    }
    assert bad == {}
    refused = [v.note for v in found.values() if v.outcome == 'refused']
    assert len(refused) <= len(found) / 10, refused


@pytest.mark.parametrize('first', range(0, QUICK, A_TIME))
def test_random_networks(first):
    check_recipes(range(first, first + A_TIME))


@pytest.mark.slow
@pytest.mark.parametrize('first', range(QUICK, ALL, A_TIME))
def test_more_random_networks(first):
    check_recipes(range(first, first + A_TIME))


def shares(graph):
    """Free channels, and all that neither enter nor leave the network."""
    free = sum(group.size for group in graph.free.values())
    whole = sum(group.size for group in graph.groups.values())
    return free, whole - sum(LEAVE_OR_ENTER)


def try_alone(name, width):
    model, inputs = alone(name, width)
    counts = BLOCKS[name].is_counted
    trial = Trial(model.double(), inputs.double(), counts)
    assert not trial.is_void
    draw = random.Random(width)
    for each in KINDS_OF_MASKS:
        trial.check(masks(trial.graph, each, draw))
    trial.check_training(masks(trial.graph, 'lower half', draw))
    return trial


@pytest.mark.parametrize('name', sorted(BLOCKS))
def test_a_block_alone(name):
    """Exact under every kind of mask, finite in training, cut as expected."""
    expected = BLOCKS[name].expected
    for width in (9, 8):
        trial = try_alone(name, width)
    free, inner = shares(trial.graph)
    least = {'all': inner, 'none': 0, 'either': 0}.get(expected, expected)
    assert free >= least, str(trial.graph)
    assert free == 0 or expected != 'none', str(trial.graph)


def test_kinds_are_many_and_most_can_be_cut():
    assert len(BLOCKS) >= 200
    expected = [kind.expected for kind in BLOCKS.values()]
    assert len(expected) - sum(map(expected.count, ('none', 'either'))) > 120


def test_a_recipe_can_be_repeated_by_its_number():
    one, other = recipe(7), recipe(7)
    assert one == other != recipe(8)
    (a, x), (b, y) = one.build(), other.build()
    assert torch.equal(x, y)
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name])
