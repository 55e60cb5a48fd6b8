"""The exploration as a whole, on toy networks with hand-built graphs."""

import copy
import gc
import io
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from chex_mm import trace_channels
from chex_mm.budget.allocation import uniform_counts
from chex_mm.budget.budgets import BUDGETS, Budget
from chex_mm.errors import ChexError
from chex_mm.strategies.exploration import ChannelExplorer
from chex_mm.strategies.regrowth import REGROWTHS
from chex_mm.strategies.scores import SCORES
from chex_mm.strategies.settings import ExplorerSettings
from chex_mm.submodel.executions import EXECUTIONS
from chex_mm.submodel.sub_model import SubModel

from ..submodel.hand_built import Chain, Residual, bit_equal

executions = pytest.mark.parametrize('execution', EXECUTIONS)

TOYS = {'chain': lambda: Chain(16, 24), 'residual': lambda: Residual(16, 16)}


def explorer_of(model, budget=None, total_steps=5, **settings):
    return ChannelExplorer(
        model,
        model.graph(),
        budget or Budget('flops', 0.5),
        total_steps,
        **settings,
    )


def sgd(model):
    return torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4
    )


def train(explorer, optimizer, seed, iterations=3):
    """A few iterations on labels that depend on the image."""
    generator = torch.Generator().manual_seed(seed)
    model = explorer.model.train()
    for _ in range(iterations):
        x = torch.randn(16, 3, 8, 8, generator=generator)
        labels = (x[:, 0].mean((1, 2)) > 0).long()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()
        explorer.enforce()


def inactive_values(explorer, model=None):
    """All entries of the model that must be zero."""
    tensors = dict((model or explorer.model).state_dict())
    explorer.sub_model.widen_state(tensors)
    values = []
    for name, group in explorer.groups.items():
        for piece in group.slices:
            lines = tensors[piece.tensor].movedim(piece.dim, 0)
            gone = piece.positions(~explorer.keep[name])
            values.append(lines[gone].flatten())
    return torch.cat(values)


def counts(explorer):
    return {name: int(mask.sum()) for name, mask in explorer.keep.items()}


def saved(state):
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


def test_the_start_is_the_uniform_share_and_the_regrow_factor():
    model = Chain(16, 24)
    dense = copy.deepcopy(model.state_dict())
    explorer = explorer_of(model, Budget('channels', 0.5), regrow=0.25)
    assert counts(explorer) == {'conv1': 12, 'conv2': 18}
    norms = dense['conv1.weight'].flatten(1).norm(dim=1)
    kept = norms[explorer.keep['conv1']]
    assert kept.min() > norms[~explorer.keep['conv1']].max()
    assert not inactive_values(explorer).any()
    assert explorer.share() == 0.75


def test_the_start_may_be_dense_and_touches_nothing_then():
    model = Chain()
    dense = copy.deepcopy(model.state_dict())
    explorer = explorer_of(model, Budget('flops', 0.9), regrow=0.9)
    assert explorer.share() == 1
    assert bit_equal(model.state_dict(), dense)


@executions
@pytest.mark.parametrize('kind', BUDGETS)
@pytest.mark.parametrize('toy', TOYS)
def test_the_budget_holds_exactly_at_the_end(toy, kind, execution):
    model = TOYS[toy]()
    explorer = explorer_of(model, Budget(kind, 0.4), execution=execution)
    optimizer = sgd(model)
    for step in range(1, 6):
        train(explorer, optimizer, step)
        report = explorer.step(optimizer)
        assert report.step == step
        assert report.retained_share <= 0.4
        assert report.active == counts(explorer)
        assert report.share == explorer.share()
    assert explorer.is_finished
    assert report.share == report.retained_share <= 0.4
    assert not inactive_values(explorer).any()
    # not one channel more would fit
    for name, count in counts(explorer).items():
        if count < explorer.groups[name].size:
            wider = {**counts(explorer), name: count + 1}
            assert explorer.space.share(wider) > 0.4


def test_added_and_removed_are_counted():
    explorer = explorer_of(Chain(16, 24))
    before = copy.deepcopy(explorer.keep)
    report = explorer.step()
    added = sum(int((explorer.keep[n] & ~before[n]).sum()) for n in before)
    removed = sum(int((before[n] & ~explorer.keep[n]).sum()) for n in before)
    assert (report.added, report.removed) == (added, removed)
    assert removed > 0
    assert f'{added} channels returned, {removed} left' in str(report)


def test_no_step_after_the_last():
    explorer = explorer_of(Chain(), total_steps=1)
    explorer.step()
    with pytest.raises(ChexError, match='All 1 exploration steps are done'):
        explorer.step()


def test_a_plan_changes_nothing_and_is_always_the_same():
    model = TOYS['residual']()
    explorer = explorer_of(model)
    before = copy.deepcopy(model.state_dict())
    randomness = torch.get_rng_state()
    first, second = explorer.plan(), explorer.plan()
    assert bit_equal(first.keep, second.keep)
    assert bit_equal(model.state_dict(), before)
    assert torch.equal(torch.get_rng_state(), randomness)
    for name, mask in first.retained.items():
        assert not (mask & ~first.keep[name]).any()
        assert not (mask & ~explorer.keep[name]).any()
    assert str(first).startswith('Step 1: of 32 channels in 2 groups ')


def test_a_plan_reads_no_weights_from_inactive_inputs():
    explorer = explorer_of(Chain(16, 24), regrow=0.2)
    plan = explorer.plan()
    memory = explorer.sub_model.memory.values['conv2.weight']
    unread = memory[:, ~explorer.keep['conv1']]
    assert unread.any()
    # What an inactive channel would be read with decides nothing.
    memory[:, ~explorer.keep['conv1']] = 9 * torch.randn_like(unread)
    again = explorer.plan()
    assert torch.equal(plan.retained['conv2'], again.retained['conv2'])
    assert torch.equal(plan.keep['conv2'], again.keep['conv2'])
    # Rows that might return do.
    memory[~explorer.keep['conv2']] = 0
    with torch.no_grad():
        first = (~explorer.keep['conv2']).nonzero()[0]
        memory[first] = 9.0
    assert explorer.plan().keep['conv2'][first]


def test_a_plan_is_for_one_step_only():
    explorer = explorer_of(Chain())
    plan = explorer.plan()
    explorer.apply(plan)
    with pytest.raises(ChexError, match='for step 1, but step 2 is next'):
        explorer.apply(plan)


def test_seeds_differ_and_agree():
    def keeps(seed):
        torch.manual_seed(0)
        explorer = explorer_of(Chain(32, 48), seed=seed)
        explorer.step()
        explorer.step()
        return explorer.keep

    assert bit_equal(keeps(1), keeps(1))
    assert not bit_equal(keeps(1), keeps(2))


def test_layers_grow_beyond_their_starting_width():
    model = Chain(16, 32)
    explorer = explorer_of(model, Budget('channels', 0.4), 6, regrow=0.1)
    start = counts(explorer)['conv1']
    optimizer = sgd(model)
    for step in range(6):
        train(explorer, optimizer, step)
        with torch.no_grad():  # what the data prefer, made obvious
            model.bn1.weight.abs_().add_(0.5).mul_(
                explorer.keep['conv1'].float()
            )
            model.bn2.weight.mul_(0.5)
        explorer.step(optimizer)
    assert counts(explorer)['conv1'] > start
    assert sum(counts(explorer).values()) == 19


@pytest.mark.parametrize('divisor', [4, 8])
def test_widths_respect_the_divisor_at_every_step(divisor):
    model = Chain(36, 40)
    explorer = explorer_of(model, divisor=divisor)
    for step in range(6):
        for name, count in counts(explorer).items():
            full = explorer.groups[name].size
            assert count % divisor == 0 or count == full
        if step < 5:
            explorer.step()
    assert explorer.share() <= 0.5


def test_the_default_floor_is_half_of_the_uniform_share():
    model = Chain(16, 16)
    nn.init.constant_(model.bn1.weight, 1e-6)
    budget = Budget('channels', 0.5)
    explorer = explorer_of(model, budget, total_steps=1)
    explorer.step()
    assert uniform_counts(model.graph(), budget)['conv1'] == 8
    assert counts(explorer) == {'conv1': 4, 'conv2': 12}


def test_a_given_floor_is_a_share_of_the_group():
    model = Chain(16, 16)
    nn.init.constant_(model.bn1.weight, 1e-6)
    explorer = explorer_of(
        model, Budget('channels', 0.5), 1, floor=0.1, regrow=0.5
    )
    explorer.step()
    assert counts(explorer) == {'conv1': 2, 'conv2': 14}


@executions
def test_regrown_channels_carry_what_they_last_had(execution):
    torch.manual_seed(3)
    model = Residual(16, 16)
    explorer = explorer_of(
        model, Budget('flops', 0.3), total_steps=8, execution=execution
    )
    optimizer = sgd(model)
    last_used, returned = {}, 0
    for step in range(7):
        train(explorer, optimizer, step)
        state = {k: v.clone() for k, v in explorer.sub_model.items()}
        active = explorer.keep['stem']
        for channel in active.nonzero()[:, 0].tolist():
            last_used[channel] = state
        explorer.step(optimizer)
        for channel in (explorer.keep['stem'] & ~active).nonzero()[:, 0]:
            now, then = explorer.sub_model, last_used.get(int(channel))
            if then is None:
                continue
            returned += 1
            for name in ('stem.weight', 'bn2.weight', 'bn0.running_mean'):
                assert torch.equal(now[name][channel], then[name][channel])
            columns = slice(4 * int(channel), 4 * int(channel) + 4)
            assert torch.equal(
                now['fc.weight'][:, columns], then['fc.weight'][:, columns]
            )
            momentum = optimizer.state_dict()
            explorer.sub_model.widen_optimizer_state(momentum, optimizer)
            number = [n for n, _ in model.named_parameters()].index(
                'bn2.weight'
            )
            buffer = momentum['state'][number]['momentum_buffer']
            assert len(buffer) == 16 and buffer[channel] == 0
    assert returned > 0


def test_enforce_keeps_inactive_entries_at_zero():
    model = TOYS['residual']()
    explorer = explorer_of(model)
    explorer.step()
    averaged = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in (*model.parameters(), *averaged.parameters()):
            tensor.add_(1)
    live = {k: v.clone() for k, v in model.state_dict().items()}
    explorer.enforce()
    explorer.enforce(averaged)
    assert not inactive_values(explorer).any()
    assert bit_equal(averaged.state_dict(), model.state_dict())
    kept = explorer.keep['conv1']
    assert torch.equal(model.conv1.bias[kept], live['conv1.bias'][kept])


def test_enforce_clears_what_is_not_a_number():
    model = Chain(16, 24)
    explorer = explorer_of(model)
    explorer.step()
    with torch.no_grad():
        model.conv1.weight[~explorer.keep['conv1']] = float('nan')
    explorer.enforce()
    assert model.conv1.weight.isfinite().all()


@executions
def test_copies_become_the_same_sub_model(execution):
    model = TOYS['chain']()
    averaged = copy.deepcopy(model)
    explorer = explorer_of(model, regrow=0.5, execution=execution)
    explorer.sub_model.adopt(averaged)
    optimizer = sgd(model)
    for step in range(4):
        train(explorer, optimizer, step)
        before = copy.deepcopy(explorer.keep['conv1'])
        explorer.step(optimizer, copies=[averaged])
        assert not inactive_values(explorer, averaged).any()
        back = explorer.keep['conv1'] & ~before
        state = dict(averaged.state_dict())
        explorer.sub_model.widen_state(state)
        assert torch.equal(
            state['conv1.weight'][back],
            explorer.sub_model['conv1.weight'][back],
        )
        x = torch.randn(2, 3, 8, 8)
        assert averaged(x).shape == model(x).shape


def test_the_state_survives_saving_and_gives_the_same_steps():
    torch.manual_seed(0)
    model = TOYS['residual']()
    explorer, optimizer = explorer_of(model), sgd(model)
    for step in range(2):
        train(explorer, optimizer, step)
        explorer.step(optimizer)
    train(explorer, optimizer, 7)
    checkpoint = saved(
        {
            'model': model.state_dict(),
            'optimizer': optimizer.state_dict(),
            'explorer': explorer.state_dict(),
        }
    )

    def finish(explorer, optimizer):
        plans = []
        for step in (3, 4, 5):
            plans.append(explorer.plan())
            explorer.apply(plans[-1], optimizer)
            train(explorer, optimizer, step)
        return plans, explorer.model.state_dict()

    plans, end = finish(explorer, optimizer)
    for is_early in (True, False):  # weights before or after the explorer
        other = TOYS['residual']()
        if is_early:
            other.load_state_dict(checkpoint['model'])
        resumed = explorer_of(other)
        if not is_early:
            other.load_state_dict(checkpoint['model'])
        resumed.load_state_dict(checkpoint['explorer'])
        assert bit_equal(other.state_dict(), checkpoint['model'])
        assert bit_equal(
            saved(resumed.state_dict())['memory'],
            checkpoint['explorer']['memory'],
        )
        again = sgd(other)
        again.load_state_dict(copy.deepcopy(checkpoint['optimizer']))
        found, weights = finish(resumed, again)
        for one, two in zip(plans, found):
            assert bit_equal(one.keep, two.keep)
            assert bit_equal(one.retained, two.retained)
        assert bit_equal(weights, end)


def test_a_compact_state_survives_too_and_may_change_its_execution():
    torch.manual_seed(0)
    model = TOYS['residual']()
    explorer = explorer_of(model, execution='compact')
    optimizer = sgd(model)
    for step in range(2):
        train(explorer, optimizer, step)
        explorer.step(optimizer)
    state = {
        'model': dict(model.state_dict()),
        'optimizer': optimizer.state_dict(),
        'explorer': explorer.state_dict(),
    }
    explorer.sub_model.widen_state(state['model'])
    explorer.sub_model.widen_optimizer_state(state['optimizer'], optimizer)
    state = saved(state)
    train(explorer, optimizer, 3)
    explorer.step(optimizer)
    for execution in EXECUTIONS:
        other = TOYS['residual']()
        other.load_state_dict(state['model'])
        again = sgd(other)
        again.load_state_dict(copy.deepcopy(state['optimizer']))
        resumed = explorer_of(other, execution=execution)
        resumed.load_state_dict(state['explorer'])
        resumed.sub_model.adopt_optimizer(again)
        train(resumed, again, 3)
        resumed.step(again)
        assert bit_equal(resumed.keep, explorer.keep)
        for name, tensor in explorer.sub_model.items():
            assert torch.allclose(resumed.sub_model[name], tensor, atol=1e-6)


@pytest.mark.slow
@executions
def test_memory_does_not_grow(execution):
    """Two hundred steps leave no tensors behind."""

    def held():
        gc.collect()
        tensors = [
            each
            for each in gc.get_objects()
            if issubclass(type(each), torch.Tensor)
        ]
        return len(tensors), sum(t.numel() for t in tensors)

    model = TOYS['residual']()
    explorer = explorer_of(
        model, total_steps=201, regrow=0.5, execution=execution
    )
    optimizer = sgd(model)
    counted = []
    for step in range(200):
        if step % 20 == 0:
            train(explorer, optimizer, step, iterations=1)
            optimizer.zero_grad()
            counted.append(held())
        explorer.step(optimizer)
    counted.append(held())
    # Masks are held for what is not whole, so numbers move a little; one
    # tensor more per step would be 200.
    numbers, sizes = zip(*counted[1:])
    assert max(numbers) - min(numbers) <= 2 * len(explorer.sub_model)
    dense = sum(t.numel() for t in TOYS['residual']().state_dict().values())
    assert max(sizes) - min(sizes) < 3 * dense


def test_a_depthwise_convolution_of_one_channel_grows_again():
    """A narrow one looks like a plain one, so its dense sizes are kept."""

    class Depthwise(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, 1)
            self.depth = nn.Conv2d(4, 4, 3, groups=4)
            self.conv2 = nn.Conv2d(4, 2, 1)

        def forward(self, x):
            return self.conv2(self.depth(self.conv1(x)))

    model = Depthwise()
    graph = trace_channels(model, (torch.randn(1, 3, 8, 8),))
    sub_model = SubModel(model, graph, graph.free, 'compact')
    (name,) = graph.free
    x = torch.randn(1, 3, 8, 8)
    expected = model(x)
    sub_model.move({name: torch.tensor([False, True, False, False])})
    assert model.depth.groups == model.depth.in_channels == 1
    assert model(x).shape == expected.shape
    sub_model.move({name: torch.ones(4, dtype=torch.bool)})
    assert model.depth.groups == model.depth.in_channels == 4
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize(
    'make, text',
    [
        (
            lambda: explorer_of(Chain(8, 24)),
            "of another model or run: channel group 'conv1' is '16 channels",
        ),
        (
            lambda: explorer_of(TOYS['residual']()),
            "channel group 'stem' is 'absent' in the state, but '16 channel",
        ),
        (
            lambda: explorer_of(TOYS['chain'](), Budget('flops', 0.6)),
            "setting 'budget.keep' is '0.5' in the state, but '0.6' here",
        ),
        (
            lambda: explorer_of(TOYS['chain'](), total_steps=9),
            "setting 'total_steps' is '5' in the state, but '9' here",
        ),
        (
            lambda: explorer_of(TOYS['chain'](), seed=4),
            "setting 'seed' is '0' in the state, but '4' here",
        ),
    ],
)
def test_a_state_of_another_run_changes_nothing(make, text):
    state = explorer_of(TOYS['chain']()).state_dict()
    other = make()
    before = copy.deepcopy(other.model.state_dict())
    with pytest.raises(ValueError, match=text):
        other.load_state_dict(state)
    assert bit_equal(other.model.state_dict(), before)
    assert other.steps_done == 0


def test_a_corrupt_state():
    explorer = explorer_of(Chain())
    state = explorer.state_dict()
    with pytest.raises(ValueError, match='it lacks keep, memory'):
        explorer.load_state_dict({k: state[k] for k in ('signature', 'step')})
    state['memory']['conv1.weight'] = torch.zeros(1)
    with pytest.raises(ValueError, match="memory of 'conv1.weight' is .1,. "):
        explorer.load_state_dict(state)


def test_a_wrapped_model_is_refused():
    model = Chain()
    with pytest.raises(
        ValueError,
        match="no tensor 'conv1.weight', which explored channels need.*"
        'of a wrapped one .* its `.module`',
    ):
        ChannelExplorer(
            nn.DataParallel(model), model.graph(), Budget('flops', 0.5), 5
        )


def test_another_width_is_refused():
    with pytest.raises(ValueError, match='trace this model again'):
        ChannelExplorer(
            Chain(8, 8), Chain(8, 12).graph(), Budget('flops', 0.5), 5
        )


def test_compact_refuses_what_a_layer_in_doubt_may_read():
    model = Chain(16, 24)
    model.aux = nn.Linear(24, 2)
    graph = replace(
        model.graph(),
        shapes={**model.graph().shapes, 'aux.weight': (2, 24)},
        doubtful=('aux.weight',),
    )
    before = copy.deepcopy(model.state_dict())
    start = partial(ChannelExplorer, model, graph, Budget('flops', 0.5), 2)
    with pytest.raises(ChexError, match=r'^aux may read conv2, to be cut'):
        start(execution='compact')
    assert bit_equal(model.state_dict(), before)
    assert not start(execution='masked', regrow=0).keep['conv2'].all()
    explorer = start(execution='compact', exclude=['conv2'])
    assert set(explorer.groups) == {'conv1'}


def test_diverged_weights_stop_the_exploration():
    explorer = explorer_of(Chain(16, 24))
    nn.init.constant_(explorer.model.conv2.weight, float('nan'))
    with pytest.raises(ChexError, match="'conv2' are not finite"):
        explorer.plan()


@pytest.mark.parametrize(
    'settings, text',
    [
        (
            {'execution': 'lean'},
            "no execution 'lean'; write one of 'masked', ",
        ),
        ({'regrow': 1.5}, 'regrow=1.5 is not a share'),
        ({'floor': -1}, 'floor=-1 is not a share'),
        ({'divisor': 0}, 'divisor=0 must be a whole number'),
        ({'score': 'taylor'}, "no score 'taylor'; write one of 'scale'"),
        ({'regrowth': 'all'}, "no regrowth policy 'all'; write one of 'imp"),
    ],
)
def test_wrong_settings(settings, text):
    with pytest.raises(ValueError, match=text):
        ExplorerSettings(**settings)


def test_an_unreachable_budget_is_refused_at_once():
    with pytest.raises(ValueError, match='between 0.40 and 1.00.*keep=0.40'):
        explorer_of(Chain(16, 24), Budget('channels', 0.2), divisor=8)
    with pytest.raises(ValueError, match='no exploration|at least one step'):
        explorer_of(Chain(), total_steps=0)


@pytest.mark.parametrize(
    ('schedule', 'total_steps', 'text'),
    [
        ((), None, 'total_steps=None: an exploration needs at least one'),
        ((2, 2), None, r'schedule=\(2, 2\) must be whole numbers from 1'),
        ((0, 2), None, r'schedule=\(0, 2\) must be whole numbers from 1'),
        ((1, 2.5), None, 'must be whole numbers from 1, each larger than'),
        ((1, 2), 3, 'total_steps=3, but the schedule has 2 steps; leave'),
    ],
)
def test_schedules_that_are_none(schedule, total_steps, text):
    with pytest.raises(ValueError, match=text):
        explorer_of(Chain(), total_steps=total_steps, schedule=schedule)


def test_a_schedule_does_what_calling_each_step_does():
    models = [TOYS['residual']() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    by_hand = explorer_of(models[0], total_steps=3)
    scheduled = explorer_of(models[1], total_steps=None, schedule=(2, 4, 5))
    optimizers = [sgd(model) for model in models]
    changes = []
    for iteration in range(1, 8):
        train(by_hand, optimizers[0], iteration, iterations=1)
        if iteration in (2, 4, 5):
            by_hand.step(optimizers[0])
        train(scheduled, optimizers[1], iteration, iterations=1)
        done = scheduled.after_step(iteration, optimizers[1])
        changes.append(done and done.step)
        assert bit_equal(scheduled.keep, by_hand.keep)
    assert changes == [None, 1, None, 2, 3, None, None]
    assert scheduled.is_finished
    assert bit_equal(models[0].state_dict(), models[1].state_dict())


def test_a_step_that_was_missed_is_made_up_for():
    explorer = explorer_of(Chain(), total_steps=None, schedule=(2, 4))
    assert [explorer.after_step(5).step, explorer.after_step(6).step] == [1, 2]
    assert explorer.after_step(7) is None


@pytest.mark.parametrize('score', SCORES)
@pytest.mark.parametrize('regrowth', REGROWTHS)
def test_every_score_and_regrowth_explores(score, regrowth):
    explorer = explorer_of(Chain(16, 24), score=score, regrowth=regrowth)
    while not explorer.is_finished:
        explorer.step()
    assert explorer.share() <= 0.5
