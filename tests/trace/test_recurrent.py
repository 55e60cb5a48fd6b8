"""What recurrent layers read is cut, exactly; their state stays."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import chex_mm
from chex_mm.trace.replay import random_masks

LAYERS = {
    'LSTM': nn.LSTM(16, 12, batch_first=True),
    'two layers': nn.LSTM(16, 12, 2, batch_first=True, dropout=0.5),
    'GRU, both ways': nn.GRU(16, 6, bidirectional=True, batch_first=True),
    'LSTM, both ways': nn.LSTM(16, 6, bidirectional=True, batch_first=True),
    'RNN': nn.RNN(16, 12, nonlinearity='relu', batch_first=True),
    'RNN, no bias': nn.RNN(16, 12, bias=False, batch_first=True),
    'GRU, time first': nn.GRU(16, 12),
}
CELLS = {
    'LSTM cell': nn.LSTMCell(16, 12),
    'GRU cell': nn.GRUCell(16, 12),
    'RNN cell': nn.RNNCell(16, 12),
}


class Net(nn.Module):
    def __init__(self, reader):
        super().__init__()
        self.a, self.r, self.o = nn.Conv1d(4, 16, 3), reader, nn.Linear(12, 3)

    def read(self, x):
        out = self.r(x)
        return out[0] if isinstance(out, tuple) else out

    def forward(self, x):
        x = F.relu(self.a(x)).transpose(1, 2)
        if isinstance(self.r, nn.RNNCellBase):
            return self.o(self.read(x[:, 0]))
        return self.o(self.read(x))


@pytest.mark.parametrize('name', [*LAYERS, *CELLS])
def test_what_it_reads_follows(name):
    torch.manual_seed(0)
    model = Net(copy.deepcopy({**LAYERS, **CELLS}[name])).eval()
    x = torch.randn(2, 4, 8)
    graph = chex_mm.trace_channels(model, (x,), strict=True)
    assert graph.free['a'].size == 16
    keep = random_masks(graph)
    masked = copy.deepcopy(model)
    chex_mm.mask_channels(masked, graph, keep)
    narrow = chex_mm.slim(model, graph, keep)
    torch.testing.assert_close(narrow(x), masked(x), rtol=1e-5, atol=1e-6)
    assert narrow.r.input_size == int(keep['a'].sum())
    narrow.train()(x).sum().backward()
    assert all(p.grad.isfinite().all() for p in narrow.parameters())


@pytest.mark.filterwarnings('ignore:LSTM with projections')
def test_a_projected_state_stays():
    model = Net(nn.LSTM(16, 14, proj_size=12, batch_first=True)).eval()
    graph = chex_mm.trace_channels(model, (torch.randn(2, 4, 8),))
    assert {n: g.size for n, g in graph.free.items()} == {'a': 16}


@pytest.mark.parametrize('execution', ['masked', 'compact'])
def test_it_trains_in_both_executions(execution):
    torch.manual_seed(0)
    model, x = Net(nn.LSTM(16, 12, batch_first=True)), torch.randn(2, 4, 8)
    graph = chex_mm.trace_channels(model, (x,))
    explorer = chex_mm.ChannelExplorer(
        model, graph, chex_mm.Budget('params', 0.8), 2, execution=execution
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
        explorer.enforce()
        explorer.step(optimizer)
    assert model(x).isfinite().all()
    assert explorer.share() <= 0.8
