"""The channel graph in words, and what it refuses."""

import pytest
import torch
from torch import nn

import chex_mm

TEXT = """\
1 of 3 channel groups may be cut; 1.6e-06 GFLOPs, 6e-05 M parameters.
0.input: 2 channels, pinned: it meets something of fixed size at \
aten.convolution.default in 0; column of 0.weight dim 1
0: 4 channels, free; row of 0.weight dim 0; bias of 0.bias dim 0; scale of \
1.weight dim 0; shift of 1.bias dim 0; statistic of 1.running_mean dim 0; \
statistic of 1.running_var dim 0; column of 2.weight dim 1
2: 8 channels, pinned: it leaves the model; row of 2.weight dim 0; bias of \
2.bias dim 0"""


@pytest.fixture(scope='module')
def graph():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 8, 1)
    )
    return chex_mm.trace_channels(model.eval(), (torch.randn(2, 2, 5, 4),))


def test_the_graph_reads_as_sentences(graph):
    assert str(graph) == TEXT


def test_flops_and_params_of_an_allocation(graph):
    assert graph.counts() == {'0.input': 2, '0': 4, '2': 8}
    assert graph.flops() == 40 * (8 + 32)
    assert graph.flops({'0': 3}) == 40 * (6 + 24)
    assert graph.flops({'0': 3}, within=lambda path: path == '2') == 40 * 24
    assert graph.params() == 8 + 4 + 8 + 32 + 8
    assert graph.params({'0': 1}) == 2 + 1 + 2 + 8 + 8
    assert graph.params(within=lambda path: path == '1') == 8
    assert graph.shape('2.weight', {**graph.counts(), '0': 3}) == (8, 3, 1, 1)


def masks(*values):
    return torch.tensor(values, dtype=torch.bool)


@pytest.mark.parametrize(
    'keep, text',
    [
        (
            {'1': masks(1)},
            "There is no channel group '1'. Groups that may be cut: 0.",
        ),
        (
            {'0': torch.ones(4)},
            "The mask of '0' is torch.float32 of shape (4,); it must be "
            'torch.bool of shape (4,).',
        ),
        (
            {'0': masks(1, 0)},
            "The mask of '0' is torch.bool of shape (2,); it must be "
            'torch.bool of shape (4,).',
        ),
        (
            {'2': masks(1, 1, 1, 1, 1, 1, 1, 0)},
            "'2' cannot be cut: it leaves the model. Leave it out of the "
            'masks.',
        ),
        (
            {'0': masks(0, 0, 0, 0)},
            "The mask of '0' keeps no channel; keep at least one.",
        ),
    ],
)
def test_masks_that_do_not_fit(graph, keep, text):
    with pytest.raises(ValueError) as error:
        graph.check_keep(keep)
    assert str(error.value) == text


def test_masks_that_fit(graph):
    graph.check_keep({'0': masks(1, 0, 0, 1), '2': torch.ones(8).bool()})
    assert graph.counts({'0': masks(1, 0, 0, 1)})['0'] == 2


class TwoWays(nn.Module):
    """Small images go another way than large ones."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 2, 1)
        self.small = nn.Conv2d(4, 2, 1, bias=False)

    def forward(self, x):
        head = self.small if x.shape[-1] < 4 else self.b
        return head(self.a(x))


UNREACHED = (
    '1 parameters are in none of the traced passes and stay as they are: '
    'small.weight. If a pass uses them, trace it as well: '
    'trace_channels(model, inputs, also=[run])'
)


def test_what_no_pass_has_used_is_told():
    graph = chex_mm.trace_channels(TwoWays(), (torch.ones(1, 2, 4, 4),))
    assert graph.unreached == ['small.weight']
    assert str(graph).splitlines()[-1] == UNREACHED


def test_another_pass_reaches_it():
    model, small = TwoWays(), torch.ones(1, 2, 2, 2)
    large = torch.ones(1, 2, 4, 4)
    graph = chex_mm.trace_channels(model, large, also=[lambda m: m(small)])
    assert graph.unreached == []
    narrow = chex_mm.slim(model, graph, {'a': masks(1, 0, 0, 1)})
    chex_mm.mask_channels(model, graph, {'a': masks(1, 0, 0, 1)})
    for image in (large, small):
        assert torch.allclose(narrow(image), model(image), atol=1e-6)


def test_names_are_unique():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 8, 1), nn.Conv2d(3, 2, 1)

        def forward(self, x):
            x = self.a(x)
            return self.b(x[:, :3]), x[:, 3:5]

    model = Net()
    graph = chex_mm.trace_channels(model, (torch.randn(1, 2, 4, 4),))
    assert [(g.name, g.size) for g in graph.groups.values()] == [
        ('a.input', 2),
        ('a', 3),
        ('a#2', 2),
        ('a#3', 3),
        ('b', 2),
    ]
