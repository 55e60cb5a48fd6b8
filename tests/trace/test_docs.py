"""docs/rules.md is run: its rule works and its words are those printed."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import chex_mm
from chex_mm.trace.rules import RULES, SIZES, ZEROS

from .toy_networks import conv

TEXT = (Path(__file__).parents[2] / 'docs' / 'rules.md').read_text()
BLOCKS = re.findall(r'```python\n(.*?)```', TEXT, re.S)


@torch.library.custom_op('my::swap', mutates_args=())
def kernel(x: torch.Tensor) -> torch.Tensor:
    left, right = x.chunk(2, 1)
    return torch.cat((right, left), 1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 8), conv(8, 2)

    def forward(self, x):
        return self.b(torch.ops.my.swap(self.a(x)))


@pytest.fixture
def names():
    """What the blocks of the page define; the tables are as before after."""
    tables = RULES, SIZES, ZEROS
    before = [dict(table) for table in tables]
    found = {'MyExtractor': type('MyExtractor', (nn.Module,), {})}
    yield found
    for table, old in zip(tables, before):
        table.clear()
        table.update(old)


def test_the_rule(names):
    rule_block, call_block, zeros_block, sizes_block = BLOCKS
    exec(rule_block, names)
    assert RULES[torch.ops.my.swap] is names['swap']
    names.update(chex_mm=chex_mm, RULES=RULES, model=Net())
    names['inputs'] = (torch.randn(1, 3, 4, 4),)
    exec(call_block, names)
    (group,) = names['graph'].free.values()
    places = {s.tensor: s.index.tolist() for s in group.slices}
    assert places['a.weight'] == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert places['b.weight'] == places['a.weight']
    assert names['graph'].unknown_ops == ()
    exec(zeros_block, names)
    assert ZEROS[torch.ops.my.swap] is names['kept']
    exec(sizes_block, names)
    assert SIZES[names['MyExtractor']] is names['my_extractor']


def test_the_words():
    graph = chex_mm.trace_channels(Net(), (torch.randn(1, 3, 4, 4),))
    shown = re.search(r'\n\n((?:    .*\n)+)', TEXT)[1]
    shown = [line[4:] for line in shown.splitlines()]
    printed = graph.unknown_text().splitlines()
    assert (shown[0], shown[2]) == (printed[0], printed[2])
    assert printed[1] == (
        '  my.swap.default  (model)  (1, 8, 4, 4) -> (1, 8, 4, 4)'
    )


def test_the_names():
    """Whatever the page names of rules and the flow exists."""
    import chex_mm.trace.rules as rules
    from chex_mm.trace.flow import Flow

    used = set(re.findall(r'`flow\.(\w+)\(', TEXT))
    assert used == {
        *('labels', 'vector', 'axis', 'tie', 'pin', 'count'),
        'vanishes',
    }
    assert all(hasattr(Flow, name) for name in used)
    for room, name in re.findall(
        r'`(movement|pointwise|products)\.(\w+)`', TEXT
    ):
        assert hasattr(getattr(rules, room), name)
