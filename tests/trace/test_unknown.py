"""Operators without a rule pin what they touch and are reported once."""

import numpy as np
import pytest
import torch
from torch import nn

import chex_mm
from chex_mm.trace.labels import spread
from chex_mm.trace.rules import RULES, rule

from .toy_networks import conv


@torch.library.custom_op('chex_mm_test::sharpen', mutates_args=())
def kernel(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def sharpen(x):
    return torch.ops.chex_mm_test.sharpen(x)


class Halve(torch.autograd.Function):
    """Computes where no dispatcher can look."""

    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.detach().numpy() / np.float32(2))


class Twice(torch.autograd.Function):
    """Made of operators that the dispatcher sees."""

    @staticmethod
    def forward(ctx, x):
        return x + x


class Net(nn.Module):
    def __init__(self, operator):
        super().__init__()
        self.a, self.b, self.c = conv(3, 4), conv(4, 5), conv(5, 2)
        self.inner = nn.Sequential(Wrapper(operator))

    def forward(self, x):
        return self.c(self.b(self.inner(self.a(x))))


class Wrapper(nn.Module):
    def __init__(self, operator):
        super().__init__()
        self.operator = operator

    def forward(self, x):
        return self.operator(x)


def trace(operator, **settings):
    inputs = (torch.randn(1, 3, 4, 4),)
    return chex_mm.trace_channels(Net(operator), inputs, **settings)


TEXT = """\
1 operators carry channels but have no rule; what they touch is not pruned:
  chex_mm_test.sharpen.default  inner.0  (1, 4, 4, 4) -> (1, 4, 4, 4)
Declare one with @rule(torch.ops.aten.foo), see docs/rules.md"""


def test_a_custom_operator_pins_and_is_reported():
    graph = trace(sharpen)
    assert list(graph.free) == ['b']
    assert graph.groups['a'].pinned == (
        'no rule for chex_mm_test.sharpen.default in inner.0'
    )
    assert graph.unknown_text() == TEXT
    assert str(graph).endswith(TEXT)


def test_strict_raises_with_the_list():
    with pytest.raises(chex_mm.ChexError) as error:
        trace(sharpen, strict=True)
    assert str(error.value) == TEXT


def test_a_kernel_inside_an_autograd_function_is_unknown():
    graph = trace(Halve.apply)
    assert list(graph.free) == ['b']
    (unknown,) = graph.unknown_ops
    assert unknown.op == f'{__name__}.Halve'
    assert unknown.module == 'inner.0'
    assert unknown.inputs == unknown.outputs == ((1, 4, 4, 4),)


def test_sparse_tensors_pin_and_are_reported():
    graph = trace(lambda x: x.to_sparse().to_dense())
    assert list(graph.free) == ['b']
    assert [each.op for each in graph.unknown_ops] == [
        'aten._to_sparse.default'
    ]


def test_an_autograd_function_of_known_operators_is_followed():
    graph = trace(Twice.apply, strict=True)
    assert list(graph.free) == ['a', 'b']


def test_functions_are_put_back():
    before = Halve.__dict__['forward'], Twice.__dict__['forward']
    trace(Halve.apply)
    assert (Halve.__dict__['forward'], Twice.__dict__['forward']) == before


ALONG = torch.zeros(1, 1, 4, 4, dtype=torch.long)
PARTLY = torch.zeros(1, 2, 1, 4, dtype=torch.long)


@pytest.mark.parametrize(
    'scatter',
    [
        lambda x: x.scatter(1, ALONG, 1.0),
        lambda x: x.scatter(2, PARTLY, 1.0),
        lambda x: x.scatter(2, PARTLY, x[:, 2:]),
    ],
    ids=['along channels', 'over some channels', 'from others'],
)
def test_what_a_scatter_separates_is_pinned(scatter):
    graph = trace(scatter)
    assert list(graph.free) == ['b']
    assert [each.op for each in graph.unknown_ops][-1].startswith(
        'aten.scatter.'
    )


def keep(flow, call):
    return flow.labels(call.inputs[0])


@pytest.mark.parametrize('own_rule', [keep, lambda *_: NotImplemented])
def test_rules_of_one_call(own_rule):
    operator = torch.ops.chex_mm_test.sharpen
    graph = trace(sharpen, rules={**RULES, operator: own_rule})
    assert list(graph.free) == (['a', 'b'] if own_rule is keep else ['b'])
    assert operator not in RULES
    assert len(graph.unknown_ops) == (own_rule is not keep)


def fails(flow, call):
    labels = flow.labels(call.inputs[0])
    flow.tie(labels, labels.flip(1))  # half of what it would have said
    raise IndexError('list index out of range')


def short(flow, call):
    return flow.labels(call.inputs[0])[:, :2]


@pytest.mark.parametrize(
    ('own_rule', 'message'),
    [
        (fails, 'list index out of range'),
        (
            short,
            'labels of shape (1, 2, 4, 4) do not describe a tensor of shape '
            '(1, 4, 4, 4)',
        ),
    ],
)
def test_a_rule_that_fails_pins_and_is_reported(own_rule, message):
    operator = torch.ops.chex_mm_test.sharpen
    graph = trace(sharpen, rules={**RULES, operator: own_rule})
    assert list(graph.free) == ['b']
    assert graph.groups['a'].pinned == (
        'the rule for chex_mm_test.sharpen.default in inner.0 fails '
        f'({message})'
    )
    assert graph.unknown_text() == TEXT


def refuse(flow, call):
    raise chex_mm.ChexError('A refusal.')


def test_a_rule_may_refuse():
    operator = torch.ops.chex_mm_test.sharpen
    with pytest.raises(chex_mm.ChexError, match=r'A refusal\.'):
        trace(sharpen, rules={**RULES, operator: refuse})


def test_a_rule_for_an_autograd_function():
    graph = trace(Halve.apply, rules={**RULES, Halve: keep}, strict=True)
    assert list(graph.free) == ['a', 'b']


def test_a_rule_may_cross_operators():
    """Labels can be made from vectors, as an example of docs/rules.md."""

    def flip(flow, call):
        vector = flow.vector(call.inputs[0], 1).flip(0)
        return spread(vector, call.out.shape, 1)

    operator = torch.ops.chex_mm_test.sharpen
    graph = trace(sharpen, rules={**RULES, operator: flip})
    found = {
        (s.tensor, s.dim): s.index.flatten().tolist()
        for s in graph.groups['a'].slices
    }
    assert found['a.weight', 0] == [0, 1, 2, 3]
    assert found['b.weight', 1] == [3, 2, 1, 0]


def test_a_second_rule_names_both():
    with pytest.raises(ValueError) as error:
        rule(torch.ops.aten.cat)(keep)
    assert str(error.value) == (
        'aten.cat has the rule chex_mm.trace.rules.movement.join already; '
        f'{__name__}.keep cannot be a second one. To override an operator in '
        'one call pass rules={**RULES, operator: rule}.'
    )


def mixed(x):
    """Every channel becomes a mixture of all, unseen."""
    array = x.detach().numpy()
    return array + array.mean(1, keepdims=True)


class Marked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x.detach().numpy()[:] = mixed(x)
        ctx.mark_dirty(x)
        return x


class Unmarked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x.detach().numpy()[:] = mixed(x)
        return x


class Beside(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(mixed(x)), x


class Between(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x + 0
        y.numpy()[:] = mixed(y)
        return y * 2


class Filled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.empty_like(x)
        y.numpy()[:] = mixed(x)
        return y


class SetUpLater(torch.autograd.Function):
    @staticmethod
    def forward(x):
        x.detach().numpy()[:] = mixed(x)
        return x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_dirty(*inputs)


class Doubled(torch.autograd.Function):
    """In place, and by an operator that torch dispatches."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)


class Passed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x


class Dropped(torch.autograd.Function):
    """Returns what carries no channels, beside what does."""

    @staticmethod
    def forward(ctx, x):
        mask = (torch.rand(x.shape[0], 1, 1, 1) > 0.5).float()
        return x * mask, mask


class Reduced(torch.autograd.Function):
    """Its operators pin everything."""

    @staticmethod
    def forward(ctx, x):
        return x.mean(1, keepdim=True)


def first(out):
    return out[0] if isinstance(out, tuple) else out


KERNELS = Marked, Unmarked, Beside, Between, Filled, SetUpLater


@pytest.mark.parametrize('function', KERNELS)
def test_what_a_kernel_writes_beside_operators_is_unknown(function):
    graph = trace(lambda x: first(function.apply(x * 1)))
    assert list(graph.free) == ['b']
    (unknown,) = graph.unknown_ops
    assert unknown.op == f'{__name__}.{function.__name__}'


@pytest.mark.parametrize('function', [Doubled, Passed, Dropped])
def test_what_is_all_dispatched_is_followed(function):
    graph = trace(lambda x: first(function.apply(x * 1)), strict=True)
    assert list(graph.free) == ['a', 'b']


def test_what_operators_have_pinned_is_not_reported():
    graph = trace(lambda x: x * 0 + Reduced.apply(x), strict=True)
    assert 'aten.mean.dim' in graph.groups['a'].pinned


@pytest.mark.parametrize('function', KERNELS)
def test_its_rule_runs_whatever_it_returns(function):
    def mixing(flow, call):
        flow.pin_inputs(call, 'the rule has run')
        return None

    graph = trace(
        lambda x: first(function.apply(x * 1)),
        rules={**RULES, function: mixing},
        strict=True,
    )
    assert graph.groups['a'].pinned == 'the rule has run'
