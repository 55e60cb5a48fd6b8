"""A step holds what no cut may change, and says how another one differs."""

import pytest
import torch

from chex_mm.trace.steps import LAYOUT, PRODUCTS, Result, Step, step_of

aten = torch.ops.aten
X = torch.ones(2, 3)


def step(op, *args, is_detailed=False, **kwargs):
    call = op, args, kwargs, op(*args, **kwargs)
    return step_of(call, 'head', is_detailed)


def test_numbers_are_kept_and_lengths_are_not():
    assert step(aten.div.Scalar, X, 3.5).numbers == (3.5,)
    assert step(aten.slice.Tensor, X, 1, 0, 2).numbers == (1,)
    pooled = step(aten.avg_pool2d.default, X[None, None], [1, 2], [1, 1])
    assert pooled.numbers == (1, 2, 1, 1)
    assert step(aten.repeat.default, X, [2, 5]).numbers == ()


def test_a_place_is_an_operator_in_a_module():
    assert step(aten.relu.default, X).place == 'aten.relu.default in head'
    named = step_of((aten.relu.default, (X,), {}, X), '', False)
    assert named.place == 'aten.relu.default in the model'


@pytest.mark.parametrize('packet', sorted(LAYOUT | PRODUCTS, key=str))
def test_what_memory_decides_is_no_step(packet):
    op = getattr(packet, packet.overloads()[0])
    assert step_of((op, (X,), {}, X), 'head', False) is None


def test_a_sum_with_a_number_is_a_step():
    assert step(aten.add.Tensor, X, X) is None
    assert step(aten.add.Tensor, X, 0.25).numbers == (0.25,)


def test_numbers_in_tensors_are_told_in_detail():
    count = torch.tensor(4.0)
    assert step(aten.div.Tensor, X, count).numbers == ()
    assert step(aten.div.Tensor, X, count, is_detailed=True).numbers == (4.0,)


def test_results_are_told_in_detail_and_of_what_draws():
    assert step(aten.neg.default, X).results == ()
    detailed = step(aten.neg.default, X, is_detailed=True)
    assert detailed.results == (Result((2, 3), -6.0, 6.0, True),)
    drawn = step(aten.rand_like.default, X)
    assert drawn.is_random and drawn.shapes == [(2, 3)]


A = 'aten.mul.Tensor in the model'
INFINITE = float('inf')


@pytest.mark.parametrize(
    ('one', 'other', 'said'),
    [
        (Step(A, ()), Step('aten.relu.default in a', ()), 'other operators'),
        (Step(A, (2.0,)), Step(A, (2.1,)), f'{A} computes with another'),
        (Step(A, (2.0,)), Step(A, (2.0, 1)), f'{A} computes with another'),
        (
            Step(A, (), (Result((3,), 6.0, 6.0),)),
            Step(A, (), (Result((3,), 6.1, 6.1),)),
            f'{A} gives other values',
        ),
        (
            Step(A, (), (Result((4,), INFINITE, INFINITE, False),)),
            Step(A, (), (Result((3,), 6.0, 6.0),)),
            f'{A} makes a number that is not finite of a masked channel',
        ),
    ],
)
def test_a_difference(one, other, said):
    assert said in one.difference(other)


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        (Step(A, (2.0,)), Step(A, (2.00001,))),
        (Step(A, (INFINITE,)), Step(A, (INFINITE,))),
        (Step(A, (float('nan'),)), Step(A, (float('nan'),))),
        # of cut channels the sums say nothing
        (
            Step(A, (), (Result((4,), 6.0, 6.0),)),
            Step(A, (), (Result((3,), 5.0, 5.0),)),
        ),
        # a model of its own is not finite
        (
            Step(A, (), (Result((3,), INFINITE, INFINITE, False),)),
            Step(A, (), (Result((3,), INFINITE, INFINITE, False),)),
        ),
    ],
)
def test_no_difference(one, other):
    assert one.difference(other) is None
