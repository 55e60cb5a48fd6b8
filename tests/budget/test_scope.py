"""Budgets, patterns and tables: what is counted and what is explored."""

import pytest

from chex_mm.budget.budgets import BUDGETS, Budget
from chex_mm.budget.scope import module_filter, select_groups

from ..submodel.hand_built import Chain, Residual

COSTS = {  # Chain(8, 12): dense, and with 4 and 6 channels
    'channels': (20, 10, 12),
    'flops': (
        576 * (3 * 8 + 8 * 12) + 12 * 4,
        576 * (3 * 4 + 4 * 6) + 6 * 4,
        576 * 8 * 12,
    ),
    'params': (
        27 * 8 + 16 + 72 * 12 + 12 + 24 + 12 * 4 + 4,
        27 * 4 + 8 + 36 * 6 + 6 + 12 + 6 * 4 + 4,
        72 * 12 + 12,
    ),
}


@pytest.mark.parametrize('kind', BUDGETS)
def test_every_budget_type_counts_exactly(kind):
    graph = Chain(8, 12).graph()
    dense, half, second = COSTS[kind]
    budget = Budget(kind, 0.5)
    assert budget.cost(graph) == dense
    assert budget.cost(graph, {'conv1': 4, 'conv2': 6}) == half
    assert Budget(kind, 0.5, of='scope').cost(graph, {}, ('conv2',)) == second
    assert budget.cost(graph, {}, ('conv2',)) == dense


@pytest.mark.parametrize(
    'arguments, text',
    [
        (('latency', 0.5), "no budget type 'latency'; write one of 'channe"),
        (('flops', 0), 'keep=0 is not a share of the dense model'),
        (('flops', 50), 'keep=50 is not a share of the dense model'),
        (('flops', 0.5, 'head'), "write of='model' or of='scope'"),
    ],
)
def test_wrong_budgets(arguments, text):
    with pytest.raises(ValueError, match=text):
        Budget(*arguments)


def test_patterns_match_the_module_and_its_subtree():
    is_within = module_filter(['backbone.*', 'head.conv[12]'])
    assert is_within('backbone') and is_within('backbone.layer1.0')
    assert is_within('head.conv1') and is_within('head.conv2.conv')
    assert not is_within('head.conv3') and not is_within('backbone2')
    assert module_filter(None) is None


def test_selection_by_scope_and_exclude():
    graph = Residual().graph()
    assert select_groups(graph) == ('stem', 'conv1')
    assert select_groups(graph, ['conv1']) == ('conv1',)
    # a coupled group belongs to each of its producers
    assert select_groups(graph, ['conv2']) == ('stem',)
    assert select_groups(graph, exclude=['stem']) == ('conv1',)


@pytest.mark.parametrize(
    'scope, exclude, text',
    [
        (
            ['cnov1'],
            None,
            "The pattern 'cnov1' matches no module and no channel group. "
            'Close to it: conv1, conv2. '
            'Top-level modules: bn1, bn2, conv1, conv2, fc.',
        ),
        (
            None,
            ['neck'],
            "The pattern 'neck' matches no module and no channel group. "
            'Top-level modules: bn1, bn2, conv1, conv2, fc.',
        ),
        (
            ['conv1', 'fc'],
            None,
            "The pattern 'fc' matches only channels that are pinned:\n"
            '  fc: leaves the model\nTake it out of the scope.',
        ),
        (
            ['bn1'],
            None,
            "The pattern 'bn1' matches modules that compute no channels; "
            'name the convolutions or linear layers before them.',
        ),
        (
            None,
            ['conv*'],
            "Nothing is left to explore: exclude=['conv*'] takes away every "
            'free group.',
        ),
    ],
)
def test_patterns_that_select_nothing(scope, exclude, text):
    with pytest.raises(ValueError) as error:
        select_groups(Chain().graph(), scope, exclude)
    assert str(error.value) == text
