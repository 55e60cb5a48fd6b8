"""Exploration of weights that are stored as a length and a direction."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import chex_mm
from chex_mm.graph.groups import Role
from chex_mm.submodel.sub_model import SubModel

STEPS = 4
OPTIMIZERS = {  # whose decay pulls at what is one and out of use
    'sgd': lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=0.1),
    'adam': lambda p: torch.optim.Adam(p, 1e-2, weight_decay=0.1),
}


class Net(nn.Module):
    """A residual block, a depthwise layer and one that is transposed."""

    def __init__(self, wrap=weight_norm):
        super().__init__()
        self.stem = wrap(nn.Conv1d(3, 12, 3, padding=1))
        self.a = wrap(nn.Conv1d(12, 10, 3, padding=1))
        self.norm = nn.BatchNorm1d(10)
        self.b = wrap(nn.Conv1d(10, 12, 3, padding=1))
        self.deep = wrap(nn.Conv1d(12, 12, 3, groups=12))
        self.up = wrap(nn.ConvTranspose1d(12, 8, 2))
        self.head = nn.Conv1d(8, 2, 1)

    def forward(self, x):
        x = self.stem(x).sigmoid()
        x = x + self.b(self.norm(self.a(x)).relu())
        return self.head(self.up(self.deep(x).relu()).relu())


def traced(model):
    x = torch.randn(4, 3, 9, dtype=torch.double)
    return chex_mm.trace_channels(model.double(), (x,), strict=True)


def directions(graph):
    """(tensor, dim) of them, with the channels of their group."""
    return {
        (piece.tensor, piece.dim): (name, piece.index)
        for name, group in graph.free.items()
        for piece in group.with_role(Role.DIRECTION)
    }


def test_lengths_stand_for_the_weight():
    graph = traced(Net())
    roles = {
        piece.tensor.partition('.')[0]: piece.role
        for group in graph.groups.values()
        for piece in group.slices
        if piece.tensor.endswith('original0')
    }
    assert roles == {
        'stem': Role.ROW,
        'a': Role.ROW,
        'b': Role.ROW,
        'deep': Role.FILTER,
        'up': Role.COLUMN,
    }
    assert {n: g.modules for n, g in graph.free.items()} == {
        'stem': ('stem', 'b'),
        'a': ('a',),
        'up': ('up',),
    }


class Run:
    """An explorer that trains a copy of a model, with an average of it."""

    def __init__(self, model, graph, optimizer, execution):
        self.model, self.average = copy.deepcopy(model), copy.deepcopy(model)
        self.explorer = chex_mm.ChannelExplorer(
            self.model,
            graph,
            chex_mm.Budget('flops', keep=0.5),
            total_steps=STEPS,
            execution=execution,
        )
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.explorer.sub_model.adopt(self.average)

    def train(self, x):
        for _ in range(2):
            self.optimizer.zero_grad()
            (self.model(x) - 1).square().mean().backward()
            self.optimizer.step()
            self.explorer.enforce()
            with torch.no_grad():
                for mean, live in zip(
                    self.average.parameters(), self.model.parameters()
                ):
                    mean.lerp_(live, 0.1)
            self.explorer.enforce(self.average)

    def dense(self, model):
        state = dict(model.state_dict())
        self.explorer.sub_model.widen_state(state)
        return state

    def moments(self):
        """What the optimizer saves, by parameter."""
        state = self.optimizer.state_dict()
        self.explorer.sub_model.widen_optimizer_state(state, self.optimizer)
        names = [name for name, _ in self.model.named_parameters()]
        return {
            f'{name}/{key}': value
            for name, values in zip(names, state['state'].values())
            for key, value in values.items()
            if torch.is_tensor(value) and value.ndim
        }


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_both_executions_explore_alike(optimizer):
    torch.manual_seed(0)
    model = Net()
    graph = traced(model)
    masked, compact = (
        Run(model, graph, optimizer, how) for how in ('masked', 'compact')
    )
    for _ in range(STEPS):
        x = torch.randn(4, 3, 9, dtype=torch.double)
        for run in (masked, compact):
            run.train(x)
            report = run.explorer.step(run.optimizer, [run.average])
            assert report.removed
        check_idle(graph, masked)
        for run in (masked, compact):
            run.train(x)
        for name, mask in masked.explorer.keep.items():
            assert torch.equal(mask, compact.explorer.keep[name])
        check_idle(graph, masked)
        torch.testing.assert_close(masked.moments(), compact.moments())
        for one, other in (
            (masked.model, compact.model),
            (masked.average, compact.average),
        ):
            torch.testing.assert_close(masked.dense(one), compact.dense(other))


def check_idle(graph, run):
    """Out of use: ones where columns are in use, and nothing beside."""
    keep = run.explorer.keep
    for (tensor, dim), (name, index) in directions(graph).items():
        gone = index[~keep[name]].flatten()
        for model in (run.model, run.average):
            lines = model.get_parameter(tensor).detach()
            lines = lines.index_select(dim, gone).movedim(dim, 0).flatten(1)
            assert ((lines == 0) | (lines == 1)).all()
            assert (lines == 1).any(1).all()
        for key, moments in run.moments().items():
            if key.startswith(f'{tensor}/'):
                assert not moments.index_select(dim, gone).any()
                assert moments.any()


def test_what_it_decides_is_what_it_decides_on_plain_weights():
    """An outside oracle: the same weights, stored whole."""
    torch.manual_seed(0)
    model = Net()
    plain = Net(lambda layer: layer).double()
    with torch.no_grad():
        for path, layer in plain.named_children():
            layer.weight.copy_(model.get_submodule(path).weight)
            layer.bias.copy_(model.get_submodule(path).bias)
    found = []
    for each in (model, plain):
        explorer = chex_mm.ChannelExplorer(
            each, traced(each), chex_mm.Budget('flops', keep=0.5), STEPS
        )
        found.append((explorer.keep, explorer.plan()))
    (keep, plan), (other_keep, other_plan) = found
    assert plan.keep.keys() == keep.keys() == other_keep.keys()
    for name in keep:
        assert torch.equal(keep[name], other_keep[name])
        assert torch.equal(plan.retained[name], other_plan.retained[name])
    assert any(not mask.all() for mask in plan.retained.values())


def test_what_returns_has_its_direction_and_length():
    model = Net()
    graph = traced(model)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    sub_model = SubModel(model, graph, graph.free, 'compact')
    few = {
        name: torch.arange(group.size) % 2 == 0
        for name, group in graph.free.items()
    }
    sub_model.move(few)
    assert model.stem.out_channels == 6
    sub_model.move({n: torch.ones_like(mask) for n, mask in few.items()})
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
