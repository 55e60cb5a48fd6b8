"""An explorer refuses masks under which its model would be another one."""

import pytest
import torch
from torch import nn

import chex_mm

X = torch.randn(4, 3, 8, 8)
BUDGET = chex_mm.Budget('channels', keep=0.5)


class Odd(nn.Module):
    """Goes another way at the widths in `odd`, which no trace came upon."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 2, 1)
        self.norm, self.odd = nn.BatchNorm2d(32), ()

    def forward(self, x):
        y = self.norm(self.a(x))
        return self.b(y.relu() if y.shape[1] in self.odd else y.tanh())


def explored(execution, also=()):
    model = Odd()
    graph = chex_mm.trace_channels(model, (X,))
    return model, chex_mm.ChannelExplorer(
        model, graph, BUDGET, total_steps=2, regrow=0.2, execution=execution
    )


@pytest.mark.parametrize('execution', ['masked', 'compact'])
def test_right_masks_pass_and_nothing_changes(execution):
    model, explorer = explored(execution)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(X).sum().backward()
    optimizer.step()
    explorer.enforce()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    explorer.verify((X,), also=[lambda m: m.eval()(X)])
    explorer.step(optimizer)
    explorer.verify((X,))
    assert [module.training for module in model.modules()] == modes
    assert all(
        torch.equal(t, before[n])
        for n, t in model.state_dict().items()
        if t.shape == before[n].shape and n == 'b.bias'
    )


@pytest.mark.parametrize('execution', ['masked', 'compact'])
def test_wrong_masks_are_refused(execution):
    model, explorer = explored(execution)
    model.odd = (int(explorer.keep['a'].sum()),)
    with pytest.raises(chex_mm.ChexError, match='other operators run'):
        explorer.verify((X,))


def test_a_wrong_cut_of_the_live_model_shows():
    """In compact execution it is what trains that is compared."""
    model, explorer = explored('compact')
    explorer.verify((X,))
    with torch.no_grad():
        first = model.b.weight[:, 0].clone()
        model.b.weight[:, 0] = model.b.weight[:, 1]
        model.b.weight[:, 1] = first
    explorer.verify((X,))  # still one and the same model
    model.norm.eps = 0.5
    dense = explorer.sub_model.dense_copy()
    dense.norm.eps = 1e-5
    explorer.sub_model.dense_copy = lambda: dense
    with pytest.raises(chex_mm.ChexError, match='native_batch_norm'):
        explorer.verify((X,))


def test_a_dense_copy_is_what_a_checkpoint_holds():
    model, explorer = explored('compact')
    state = model.state_dict()
    explorer.sub_model.widen_state(state)
    copied = explorer.sub_model.dense_copy()
    assert copied.a.out_channels == 32 and model.a.out_channels < 32
    for name, tensor in copied.state_dict().items():
        assert torch.equal(tensor, state[name])
