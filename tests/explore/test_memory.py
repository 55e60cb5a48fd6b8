"""Most recently used values: what leaves comes back as it last was."""

import pytest
import torch
from torch import nn

from chex_mm.channels.graph import ChannelGraph
from chex_mm.explore.memory import (
    Activity,
    Memory,
    Zeroing,
    reset_optimizer,
    swap_copy,
)
from chex_mm.explore.weights import find_tensors

from .hand_built import Chain, Residual, bit_equal


class Rig:
    """A model whose masks can be set directly."""

    def __init__(self, model: nn.Module):
        graph: ChannelGraph = model.graph()
        self.groups = graph.free
        self.tensors = find_tensors(model, graph, self.groups)
        self.activity = self.active_at({})
        self.memory = Memory(self.tensors, self.activity)

    def active_at(self, off):
        keep = {
            name: torch.ones(group.size, dtype=torch.bool)
            for name, group in self.groups.items()
        }
        for name, positions in off.items():
            keep[name][positions] = False
        return Activity(self.groups, keep, self.tensors)

    @torch.no_grad()
    def switch(self, off):
        before, self.activity = self.activity, self.active_at(off)
        self.memory.swap(self.tensors, before, self.activity)
        return before

    @torch.no_grad()
    def train(self):
        """Changes every entry in use."""
        for name in self.activity:
            active = self.activity.of(name)
            self.tensors[name].add_(torch.where(active, 1.0, 0.0))

    def snapshot(self):
        return {name: t.detach().clone() for name, t in self.tensors.items()}


def test_activity_is_the_outer_product_of_the_dimensions():
    rig = Rig(Chain(2, 3))
    activity = rig.active_at({'conv1': [0], 'conv2': [2]})
    assert activity.of('conv2.weight')[:, :, 0, 0].tolist() == [
        [False, True],
        [False, True],
        [False, False],
    ]
    assert activity.of('conv2.weight', but=0)[:, :, 0, 0].tolist() == [
        [False, True]
    ]
    assert activity.of('bn2.running_var').tolist() == [True, True, False]


def test_members_are_masked_together():
    rig = Rig(Residual(stream=2, inner=2))
    activity = rig.active_at({'stem': [0]})
    expected = [False] * 4 + [True] * 4
    assert activity.of('fc.weight')[0].tolist() == expected


@pytest.mark.parametrize('toy', [Chain, Residual])
def test_a_channel_leaves_and_returns_bit_for_bit(toy):
    rig = Rig(toy())
    rig.train()
    at_leaving = rig.snapshot()
    name = next(iter(rig.groups))
    rig.switch({name: [1, 5]})
    for piece in rig.groups[name].slices:
        rows = rig.tensors[piece.tensor].detach().movedim(piece.dim, 0)
        gone = piece.index[[1, 5]].flatten()
        assert not rows[gone].any(), piece
    rig.switch({})
    assert bit_equal(rig.snapshot(), at_leaving)


def test_what_is_trained_meanwhile_stays_trained():
    rig = Rig(Chain(2, 2))
    start = rig.snapshot()
    rig.switch({'conv1': [0]})
    rig.train()
    rig.switch({})
    now = rig.snapshot()
    assert torch.equal(now['conv1.weight'][0], start['conv1.weight'][0])
    assert torch.equal(now['conv1.weight'][1], start['conv1.weight'][1] + 1)
    # (out, in): the column of the channel that was away is as it was
    assert torch.equal(now['conv2.weight'][:, 0], start['conv2.weight'][:, 0])
    assert torch.equal(
        now['conv2.weight'][:, 1], start['conv2.weight'][:, 1] + 1
    )


def test_producer_and_consumer_that_cross_at_different_times():
    rig = Rig(Chain(2, 2))
    start = rig.snapshot()['conv2.weight']
    rig.switch({'conv1': [0]})  # reader column 0 leaves
    rig.train()
    rig.switch({'conv1': [0], 'conv2': [0]})  # then producer row 0
    rig.train()
    rig.switch({'conv2': [0]})  # column 0 returns first
    weight = rig.snapshot()['conv2.weight']
    assert not weight[0].any()
    assert torch.equal(weight[1, 0], start[1, 0])
    assert torch.equal(weight[1, 1], start[1, 1] + 1 + 1)
    rig.train()
    rig.switch({})
    weight = rig.snapshot()['conv2.weight']
    assert torch.equal(weight[0, 0], start[0, 0])  # last in use at the start
    assert torch.equal(weight[0, 1], start[0, 1] + 1)
    assert torch.equal(weight[1, 0], start[1, 0] + 1)
    assert torch.equal(weight[1, 1], start[1, 1] + 1 + 1 + 1)


def test_a_copy_keeps_its_average_and_returns_at_the_live_value():
    rig = Rig(Chain(2, 2))
    copy = {name: tensor + 5 for name, tensor in rig.snapshot().items()}
    before = rig.switch({'conv1': [0]})
    with torch.no_grad():
        swap_copy(copy, rig.tensors, before, rig.activity)
    assert not copy['conv1.weight'][0].any()
    average = copy['conv1.weight'][1].clone()
    before = rig.switch({})
    with torch.no_grad():
        swap_copy(copy, rig.tensors, before, rig.activity)
    assert torch.equal(copy['conv1.weight'][0], rig.tensors['conv1.weight'][0])
    assert torch.equal(copy['conv1.weight'][1], average)


@pytest.mark.parametrize(
    'make',
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        lambda p: torch.optim.Adam(p, 0.1, amsgrad=True),
        lambda p: torch.optim.AdamW(p, 0.1),
    ],
)
def test_optimizer_state_of_what_changes_is_zero(make):
    model = Chain()
    rig, optimizer = Rig(model), make(model.parameters())
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    steps = [s['step'] for s in optimizer.state.values() if 'step' in s]
    before = rig.switch({'conv1': [2]})
    reset_optimizer(optimizer, rig.tensors, before, rig.activity)
    seen = 0
    for name in ('conv1.weight', 'bn1.weight', 'conv2.weight'):
        parameter = rig.tensors[name]
        for value in optimizer.state[parameter].values():
            if value.shape == parameter.shape:
                seen += 1
                line = value.movedim(1 if name == 'conv2.weight' else 0, 0)
                assert not line[2].any() and line[3].any()
    assert seen >= 3
    assert all(step == 1 for step in steps)


def test_zeroing_leaves_positive_zeros_and_all_that_is_in_use():
    rig = Rig(Chain(2, 2))
    start = rig.snapshot()
    tensors = {name: -tensor - 1 for name, tensor in start.items()}
    activity = rig.active_at({'conv1': [0]})
    Zeroing(activity, tensors)(tensors)
    for name in activity:
        active = activity.of(name).expand_as(start[name])
        assert torch.equal(tensors[name][active], (-start[name] - 1)[active])
        gone = tensors[name][~active]
        assert not gone.any() and not gone.signbit().any()


def test_zeroing_follows_the_type_of_a_copy():
    rig = Rig(Chain(2, 2))
    zeroing = Zeroing(rig.active_at({'conv1': [0]}), rig.tensors)
    copy = {n: t.double() + 1 for n, t in rig.snapshot().items()}
    zeroing(copy)
    assert copy['bn1.weight'].dtype == torch.float64
    assert copy['bn1.weight'][0] == 0 and copy['bn1.weight'][1] != 0
