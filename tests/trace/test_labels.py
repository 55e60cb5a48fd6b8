"""Arithmetic on label tensors with repeated dimensions."""

import numpy as np
import pytest
import torch

from chex_mm.graph.groups import Role
from chex_mm.trace.facts import Facts, Take, Tie
from chex_mm.trace.grouping import Components, connected
from chex_mm.trace.hollow import filled
from chex_mm.trace.labels import (
    MANY,
    encounter,
    is_constant,
    meets,
    representatives,
    spread,
    unlabelled_at_full_size,
    varying,
    with_repeats,
    without_repeats,
)


def along(labels, shape, dim=1):
    return spread(torch.tensor(labels), shape, dim)


def test_repeats_cost_nothing_and_come_back():
    labels = along([1, 2, 3], (2, 3, 500, 500))
    assert without_repeats(labels).shape == (1, 3, 1, 1)
    assert without_repeats(labels, but=2).shape == (1, 3, 500, 1)
    copied = labels.contiguous()
    assert without_repeats(copied).shape == labels.shape
    again = with_repeats(copied)
    assert torch.equal(again, labels)
    assert without_repeats(again).shape == (1, 3, 1, 1)


def test_where_labels_change():
    labels = along([1, 2, 3], (2, 3, 5))
    assert varying(labels) == [1]
    assert is_constant(labels, (0, 2)) and not is_constant(labels, (0, 1))
    assert varying(along([4, 4, 4], (2, 3, 5))) == []


@pytest.mark.parametrize(
    'a, b, pairs',
    [
        (along([1, 2], (3, 2, 4)), along([5, 6], (3, 2, 4)), {(1, 5), (2, 6)}),
        (along([1, 2], (3, 2, 4)), along([5, 6], (2, 1), 0), {(1, 5), (2, 6)}),
        (along([1, 2], (3, 2, 4)), along([1, 0], (3, 2, 4)), set()),
        (along([1, 2], (0, 2, 4)), along([5, 6], (0, 2, 4)), set()),
    ],
    ids=['same', 'broadcast', 'zero', 'empty'],
)
def test_which_channels_meet(a, b, pairs):
    assert set(map(tuple, meets(a, b).tolist())) == pairs


def test_many_pairs_are_told_once():
    a = torch.arange(1, 4).repeat(MANY)
    assert meets(a, a + 10).tolist() == [[1, 11], [2, 12], [3, 13]]


def test_a_single_channel_over_many():
    features, gate = along([1, 2], (3, 2, 4)), along([5], (3, 1, 4))
    (single,) = representatives(features, gate)
    assert single.unique().tolist() == [5]
    assert representatives(features, along([5, 6], (3, 2, 1))) == []


def test_fixed_size_pins_only_where_it_is_full_size():
    features = along([1, 2], (3, 2, 4))
    none = torch.zeros((), dtype=torch.long)
    fixed = unlabelled_at_full_size(none.expand(3, 2, 4), features)
    assert fixed.unique().tolist() == [1, 2]
    for harmless in ((3, 1, 4), (4,), ()):
        plain = none.expand(harmless)
        assert not len(unlabelled_at_full_size(plain, features))


@pytest.mark.parametrize('dims', [(1, 1), (1, 2)], ids=['one', 'two'])
def test_equal_shapes_say_the_same_at_once(dims):
    """`encounter` is a short cut to the functions above."""
    a = along([1, 2, 0, 0, 5], (2, 5, 5), dims[0])
    b = along([1, 7, 8, 0, 0], (2, 5, 5), dims[1])
    pairs, fixed = encounter(a, b)
    assert representatives(a, b) == []
    assert set(map(tuple, pairs.tolist())) == set(
        map(tuple, meets(a, b).tolist())
    )
    apart = unlabelled_at_full_size(a, b), unlabelled_at_full_size(b, a)
    assert set(fixed.tolist()) == set(torch.cat(apart).tolist()) != set()


def test_components():
    pairs = np.array([(5, 4), (4, 3), (8, 9), (3, 5)])
    assert connected(10, pairs).tolist() == [0, 1, 2, 3, 3, 3, 6, 7, 8, 8]
    facts = Facts(size=10)
    facts.ties.append(Tie(torch.from_numpy(pairs), 'here'))
    facts.pins.append((torch.tensor([9]), 'first'))
    facts.pins.append((torch.tensor([8, 5]), 'second'))
    found = Components(facts)
    assert found.pinned == {0: 'not a channel', 8: 'first', 3: 'second'}
    assert found.is_pinned[found.roots].tolist() == [
        n in (0, 3, 4, 5, 8, 9) for n in range(10)
    ]


def test_a_dimension_of_one_holds_no_channel():
    facts = Facts()
    assert facts.space('a', 0, Role.ROW, 1).tolist() == [0]
    assert facts.space('a', 1, Role.COLUMN, 2).tolist() == [1, 2]
    assert facts.space('a', 1, Role.COLUMN, 2).tolist() == [1, 2]
    assert facts.size == 3


@pytest.mark.parametrize(
    'pieces, parts',
    [
        ([range(0, 3), range(3, 6)], 2),
        ([range(2, 4)], 3),
        ([range(1, 3)], None),
        ([range(0, 2), range(2, 6)], None),
        ([range(0, 6)], None),
        ([range(3, 4)], None),
        ([(0, 2, 4)], None),
    ],
)
def test_equal_parts(pieces, parts):
    pieces = tuple(torch.tensor(list(piece)) for piece in pieces)
    take = Take('here', torch.arange(6).view(6, 1), pieces)
    assert take.parts == parts


def test_labels_of_an_empty_tensor_still_tell_its_channels():
    vector = torch.tensor([1, 2, 3])
    labels = spread(vector, (2, 3, 4), 1)
    assert torch.equal(filled(labels[:0]), labels[:1])
    assert torch.equal(
        filled(spread(vector, (0, 3), 1)), torch.tensor([[1, 2, 3]])
    )
    with pytest.raises(RuntimeError, match='nothing tells the channels'):
        filled(torch.zeros(0, 3, dtype=torch.long))
