"""What is said to be zero in masked channels is zero there, by numbers."""

import pytest
import torch

from chex_mm.trace.facts import Facts
from chex_mm.trace.flow import Flow
from chex_mm.trace.grouping import Components
from chex_mm.trace.opaque import watched_functions
from chex_mm.trace.rules import RULES, ZEROS, zeros
from chex_mm.trace.vanishing import Probe, Vanishing, keeps_zeros

from .cases import Given, Parameter, Unrun
from .test_rules import CASES, names

aten = torch.ops.aten
FLOAT, CPU = torch.float32, torch.device('cpu')


def test_what_is_written_into_is_zero_no_longer():
    vanishing, x = Vanishing(), torch.zeros(2, 4)
    view = x[:, :2]
    vanishing.add(x)
    vanishing.add(view)
    assert x in vanishing and view in vanishing
    x += 1
    assert x not in vanishing and view not in vanishing


def test_nor_in_inference_mode():
    with torch.inference_mode():
        vanishing, x = Vanishing(), torch.zeros(2, 4)
        vanishing.add(x)
        assert x in vanishing
        vanishing.note_write(x)
    assert x not in vanishing


def test_indices_say_nothing():
    vanishing, x = Vanishing(), torch.zeros(3, dtype=torch.long)
    vanishing.add(x)
    assert x not in vanishing


ZERO, ANY = (Probe(FLOAT, CPU, is_zero) for is_zero in (True, False))
MASK = Probe(torch.bool, CPU, False)


@pytest.mark.parametrize(
    ('op', 'arguments', 'expected'),
    [
        (aten.relu.default, {'self': ZERO}, True),
        (aten.sigmoid.default, {'self': ZERO}, False),
        (aten.mul.Tensor, {'self': ZERO, 'other': ANY}, True),
        (aten.mul.Tensor, {'self': ANY, 'other': ZERO}, True),
        (aten.add.Tensor, {'self': ZERO, 'other': ANY}, False),
        (aten.add.Tensor, {'self': ZERO, 'other': ZERO}, True),
        (aten.add.Scalar, {'self': ZERO, 'other': 1}, False),
        (aten.div.Tensor, {'self': ZERO, 'other': ANY}, True),
        (aten.div.Tensor, {'self': ZERO, 'other': ZERO}, False),
        (aten.pow.Tensor_Scalar, {'self': ZERO, 'exponent': 2}, True),
        (aten.pow.Tensor_Scalar, {'self': ZERO, 'exponent': -1}, False),
        (aten.pow.Tensor_Tensor, {'self': ZERO, 'exponent': ANY}, False),
        (aten.hardtanh.default, {'self': ZERO, 'max_val': 6}, True),
        (aten.clamp.default, {'self': ZERO, 'min': 0.1}, False),
        (aten.maximum.default, {'self': ZERO, 'other': ANY}, False),
        (aten.where.self, {'condition': MASK, 'self': ZERO, 'other': ANY}, 0),
        (aten.where.self, {'condition': MASK, 'self': ZERO, 'other': ZERO}, 1),
    ],
)
def test_an_operator_is_tried_on_zeros(op, arguments, expected):
    assert keeps_zeros(op, tuple(arguments.items())) == expected


def run(flow, case, given):
    """The tensors that a case returns, under a flow."""
    with flow, torch.no_grad(), watched_functions(flow):
        out = case.run(*given)
    outs = out if isinstance(out, (tuple, list)) else (out,)
    return [each for each in outs if isinstance(each, torch.Tensor)]


def watched(case):
    """The flow of a case, its inputs and its outputs."""
    flow = Flow({}, Facts(size=10), RULES)
    given = [each.enter(flow, n) for n, each in enumerate(case.inputs, 1)]
    flow.facts.size = 1000
    for tensor in given:
        if isinstance(tensor, torch.Tensor) and flow.has_channels(tensor):
            flow._vanishing.add(tensor)
    return flow, given, run(flow, case, given)


def without(case, inactive):
    """The inputs of a case with zeros where labels are inactive."""
    flow = Flow({}, Facts(size=10), RULES)
    torch.manual_seed(0)
    for number, each in enumerate(case.inputs, 1):
        tensor = each.enter(flow, number)
        for dim, labels in labelled_dims(each, number):
            off = torch.isin(labels, inactive).nonzero().flatten()
            tensor.index_fill_(dim, off, 0)
        yield tensor


def labelled_dims(given, number):
    """Dimensions of channels of one input, and the labels there."""
    if isinstance(given, Given):
        yield given.dim, torch.tensor(given.labels)
    elif isinstance(given, Parameter):
        for dim, first in given.first_labels(number):
            if given.shape[dim] > 1:
                yield dim, torch.arange(first, first + given.shape[dim])


RUN_HERE = [
    pytest.param(case, id=name)
    for case, name in zip(CASES, names())
    if not isinstance(case.run, Unrun)
]


@pytest.mark.parametrize('case', RUN_HERE)
def test_zeros_are_where_they_are_said_to_be(case):
    flow, _, outs = watched(case)
    components = Components(flow.facts)
    roots = torch.from_numpy(components.roots)
    is_free = torch.from_numpy(~components.is_pinned[components.roots])
    for rest in 0, 1:  # every other channel with all that is tied to it
        inactive = ((roots % 2 == rest) & is_free).nonzero().flatten()
        after = run(flow, case, list(without(case, inactive)))
        for out, zeroed in zip(outs, after):
            if out in flow._vanishing and not flow.is_weight(out):
                off = torch.isin(flow.labels(out), inactive)
                assert not zeroed[off].any()


def test_most_operators_keep_zeros():
    kept = [watched(case.values[0]) for case in RUN_HERE]
    said = [1 for flow, _, outs in kept if outs and outs[0] in flow._vanishing]
    assert len(said) > len(RUN_HERE) / 3


def test_every_operator_that_keeps_zeros_has_a_rule():
    assert set(ZEROS) - set(RULES) <= {'pointwise', 'view'}


def test_a_second_entry_names_both():
    with pytest.raises(ValueError, match=r'vanishing\.kept already'):
        zeros(aten.cat)(lambda flow, call: True)
