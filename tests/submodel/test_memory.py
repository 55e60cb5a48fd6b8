"""Most recently used values: what leaves comes back as it last was."""

import copy

import pytest
import torch
from torch import nn

from chex_mm.errors import ChexError
from chex_mm.submodel.activity import Activity
from chex_mm.submodel.executions import EXECUTIONS
from chex_mm.submodel.sub_model import SubModel

from .hand_built import Chain, Residual, bit_equal

executions = pytest.mark.parametrize('execution', EXECUTIONS)


class Rig:
    """A sub-model whose masks can be set directly."""

    def __init__(self, model: nn.Module, execution: str = 'masked'):
        graph = model.graph()
        self.groups = graph.free
        self.sub_model = SubModel(model, graph, self.groups, execution)

    def keep(self, off):
        keep = {
            name: torch.ones(group.size, dtype=torch.bool)
            for name, group in self.groups.items()
        }
        for name, positions in off.items():
            keep[name][positions] = False
        return keep

    def active_at(self, off):
        return Activity(self.groups, self.keep(off), self.sub_model.shapes)

    def switch(self, off, optimizer=None, copies=()):
        self.sub_model.move(self.keep(off), optimizer, copies)

    @torch.no_grad()
    def train(self):
        """Changes every entry in use."""
        for name, tensor in self.sub_model.live.items():
            used = self.sub_model.active.of(name)
            if tensor.shape == self.sub_model.shapes[name]:
                tensor.add_(torch.where(used, 1.0, 0.0))
            else:
                tensor.add_(1)

    def snapshot(self):
        return {name: t.detach().clone() for name, t in self.sub_model.items()}


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


def test_what_is_in_use_is_cut_and_widened():
    rig = Rig(Residual(stream=4, inner=3))
    activity = rig.active_at({'stem': [1], 'conv1': [0, 2]})
    dense = torch.rand(3, 4, 3, 3)  # of conv1: (inner, stream, kh, kw)
    narrow = activity.cut('conv1.weight', dense)
    assert torch.equal(narrow, dense[1:2][:, [0, 2, 3]])
    assert activity.shape('conv1.weight') == narrow.shape == (1, 3, 3, 3)
    wide = activity.widen('conv1.weight', narrow)
    mask = activity.of('conv1.weight')
    assert torch.equal(wide, torch.where(mask, dense, 0))


@executions
@pytest.mark.parametrize('toy', [Chain, Residual])
def test_a_channel_leaves_and_returns_bit_for_bit(toy, execution):
    rig = Rig(toy(), execution)
    rig.train()
    at_leaving = rig.snapshot()
    name = next(iter(rig.groups))
    rig.switch({name: [1, 5]})
    for piece in rig.groups[name].slices:
        rows = rig.sub_model[piece.tensor].movedim(piece.dim, 0)
        gone = piece.index[[1, 5]].flatten()
        assert not rows[gone].any(), piece
    rig.switch({})
    assert bit_equal(rig.snapshot(), at_leaving)


@executions
def test_what_is_trained_meanwhile_stays_trained(execution):
    rig = Rig(Chain(2, 2), execution)
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


@executions
def test_producer_and_consumer_that_cross_at_different_times(execution):
    rig = Rig(Chain(2, 2), execution)
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


@executions
def test_a_copy_keeps_its_average_and_returns_at_the_live_value(execution):
    model = Chain(2, 2)
    rig = Rig(model, execution)
    average = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in average.state_dict().values():
            tensor.add_(5)
    start = average.conv1.weight.detach().clone()
    rig.switch({'conv1': [0]}, copies=[average])
    assert torch.equal(average.conv1.weight[-1], start[1])
    if execution == 'masked':
        assert not average.conv1.weight[0].any()
    else:
        assert average.conv1.out_channels == len(average.conv1.weight) == 1
    rig.switch({}, copies=[average])
    assert average.conv1.out_channels == 2
    assert torch.equal(average.conv1.weight[0], model.conv1.weight[0])
    assert torch.equal(average.conv1.weight[1], start[1])


OPTIMIZERS = {
    'sgd': lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    'adam': lambda p: torch.optim.Adam(p, 0.1, amsgrad=True),
    'adamw': lambda p: torch.optim.AdamW(p, 0.1),
    'rmsprop': lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.5),
}


@executions
@pytest.mark.parametrize('make', OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizer_state_of_what_changes_is_zero(make, execution):
    model = Chain(4, 4)
    rig, optimizer = Rig(model, execution), make(model.parameters())
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    states = {
        name: dict(optimizer.state[rig.sub_model.live[name]])
        for name in ('conv1.weight', 'bn1.weight', 'conv2.weight')
    }
    before = copy.deepcopy(states)
    rig.switch({'conv1': [2]}, optimizer)
    rig.switch({}, optimizer)
    seen = 0
    for name, state in before.items():
        parameter = rig.sub_model.live[name]
        for key, value in optimizer.state[parameter].items():
            if value.shape != parameter.shape:
                assert value == state[key] == 1  # number of steps
                continue
            seen += 1
            dim = 1 if name == 'conv2.weight' else 0
            line, then = value.movedim(dim, 0), state[key].movedim(dim, 0)
            assert not line[2].any()
            others = [0, 1, 3]
            assert torch.equal(line[others], then[others])
    assert seen >= 3


@executions
def test_pending_gradients_follow(execution):
    model = Chain(4, 4)
    rig = Rig(model, execution)
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    then = model.conv2.weight.grad.clone()
    rig.switch({'conv1': [1]})
    rig.switch({})
    now = model.conv2.weight.grad
    assert not now[:, 1].any()
    assert torch.equal(now[:, [0, 2, 3]], then[:, [0, 2, 3]])
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()  # adds to them


def test_an_optimizer_that_keeps_other_shapes_is_refused_when_compact():
    class Factored(torch.optim.SGD):
        def step(self):
            for group in self.param_groups:
                for parameter in group['params']:
                    self.state[parameter]['rows'] = parameter.flatten(1).sum(1)

    model = Chain(4, 4)
    optimizer = Factored([model.conv2.weight], 0.1)
    optimizer.step()
    masked = Rig(copy.deepcopy(model))
    masked.switch({'conv1': [1]}, optimizer)  # no shape changes
    with pytest.raises(
        ChexError,
        match=r"Factored keeps 'rows' of shape \(4,\) beside 'conv2.weight' "
        r'of shape \(4, 4, 3, 3\); nothing says how it follows',
    ):
        Rig(model, 'compact').switch({'conv1': [1]}, optimizer)


def disturbed(sub_model):
    """Tensors of which nothing is zero."""
    return {name: -tensor.abs() - 1 for name, tensor in sub_model.items()}


def test_masked_leaves_positive_zeros_and_all_that_is_in_use():
    rig = Rig(Chain(2, 2))
    rig.switch({'conv1': [0]})
    tensors = disturbed(rig.sub_model)
    start = {name: tensor.clone() for name, tensor in tensors.items()}
    rig.sub_model.execution.enforce(tensors)
    for name in rig.sub_model:
        active = rig.sub_model.active.of(name).expand_as(start[name])
        assert torch.equal(tensors[name][active], start[name][active])
        gone = tensors[name][~active]
        assert not gone.any() and not gone.signbit().any()


def test_masked_follows_the_type_of_a_copy():
    rig = Rig(Chain(2, 2))
    rig.switch({'conv1': [0]})
    copied = {n: t.double() for n, t in disturbed(rig.sub_model).items()}
    rig.sub_model.execution.enforce(copied)
    assert copied['bn1.weight'].dtype == torch.float64
    assert copied['bn1.weight'][0] == 0 and copied['bn1.weight'][1] != 0
