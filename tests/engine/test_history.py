"""The history of a run: what every step left, also after a resume."""

from unittest.mock import patch

import pytest
import torch

import chex_mm
from chex_mm.engine.hooks import history
from chex_mm.engine.hooks.history import FILE, History, masks, read_history
from chex_mm.errors import ChexError

from .toy_runs import ToyNet

SCHEDULE, LENGTH = (4, 8, 12, 16), 24


def explorer():
    """As it stands before the first step."""
    torch.manual_seed(0)
    model = ToyNet().eval()
    graph = chex_mm.trace_channels(model, (torch.randn(1, 3, 8, 8),))
    budget = chex_mm.Budget('flops', keep=0.5)
    return chex_mm.ChannelExplorer(
        model, graph, budget, schedule=SCHEDULE, divisor=1
    )


def step(explorer, record):
    explorer.step()
    record.add(SCHEDULE[explorer.steps_done - 1], seconds=0.5)


@pytest.fixture
def run(tmp_path):
    """A finished exploration, and what its file says."""
    explored = explorer()
    record = History(tmp_path, explored, LENGTH)
    for _ in SCHEDULE:
        step(explored, record)
    return explored, read_history(tmp_path / FILE)


def test_an_entry_for_the_start_and_for_every_step(run):
    _, state = run
    entries = state['entries']
    assert [e['step'] for e in entries] == [0, 1, 2, 3, 4]
    assert [e['iteration'] for e in entries] == [0, 4, 8, 12, 16]
    assert [e['seconds'] for e in entries] == [0, 0.5, 0.5, 0.5, 0.5]
    factors = [e['regrow_factor'] for e in entries]
    assert factors[0] == pytest.approx(0.3) and factors[-1] == 0
    assert sorted(factors, reverse=True) == factors
    assert state['schedule'] == list(SCHEDULE)
    assert state['length'] == LENGTH
    assert state['budget'] == dict(type='flops', keep=0.5, of='model')
    assert state['execution'] == 'masked'


def test_masks_are_those_of_the_exploration(run):
    explored, state = run
    found = masks(state, state['entries'][-1])
    assert found.keys() == explored.keep.keys()
    assert all(torch.equal(found[n], explored.keep[n]) for n in found)
    first, start = masks(state, state['entries'][0]), explorer().keep
    assert all(torch.equal(first[n], start[n]) for n in first)
    assert any(not torch.equal(first[n], found[n]) for n in found)


def test_costs_are_those_of_the_graph(run):
    explored, state = run
    counts = explored.graph.counts(explored.keep)
    last, dense = state['entries'][-1], state['dense']
    assert last['flops'] == explored.graph.flops(counts)
    assert last['params'] == explored.graph.params(counts)
    assert last['share'] == explored.share() <= 0.5
    assert dense['flops'] == explored.graph.flops()
    assert dense['params'] == explored.graph.params()
    stem = dense['parts']['backbone.stem']  # 8 x 8 pixels
    weights = 16 * 3 * 9
    assert stem == dict(flops=64 * weights, params=weights + 2 * 16)


def test_a_resumed_run_goes_on_in_its_file(run, tmp_path):
    _, whole = run
    explored = explorer()
    for _ in range(2):
        explored.step()
    record = History(tmp_path, explored, LENGTH)
    assert len(read_history(tmp_path / FILE)['entries']) == 5  # untouched
    for _ in range(2):
        step(explored, record)
    again = read_history(tmp_path / FILE)
    assert [e['step'] for e in again['entries']] == [0, 1, 2, 3, 4]
    for one, other in zip(whole['entries'], again['entries']):
        assert torch.equal(one['masks'], other['masks'])


def test_a_run_resumed_elsewhere_starts_where_it_is(tmp_path):
    explored = explorer()
    for _ in range(2):
        explored.step()
    record = History(tmp_path, explored, LENGTH)
    step(explored, record)
    entries = read_history(tmp_path / FILE)['entries']
    assert [e['step'] for e in entries] == [2, 3]
    assert [e['iteration'] for e in entries] == [8, 12]


def test_a_new_run_forgets_the_old_one(run, tmp_path):
    History(tmp_path, explorer(), LENGTH)
    assert len(read_history(tmp_path / FILE)['entries']) == 1


def test_only_the_first_rank_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(history, 'is_main_process', lambda: False)
    History(tmp_path, explorer(), LENGTH)
    assert [*tmp_path.iterdir()] == []


def broken(state, **changes):
    """A file's content with some of it changed."""
    return dict(state, **changes)


BROKEN = {
    'empty': lambda path, state: path.write_bytes(b''),
    'cut': lambda path, state: path.write_bytes(path.read_bytes()[:-500]),
    'text': lambda path, state: path.write_text('hello'),
    'a list': lambda path, state: torch.save([1], path),
    'a tensor': lambda path, state: torch.save(torch.ones(3), path),
    'None': lambda path, state: torch.save(None, path),
    'no entries': lambda path, state: torch.save(
        broken(state, entries=[]), path
    ),
    'other entries': lambda path, state: torch.save(
        broken(state, entries=[dict(step=1)]), path
    ),
    'other masks': lambda path, state: torch.save(
        broken(
            state,
            entries=[
                dict(each, masks=each['masks'].float())
                for each in state['entries']
            ],
        ),
        path,
    ),
    'other groups': lambda path, state: torch.save(
        broken(state, groups={'neck.0': 12}), path
    ),
    'a folder': lambda path, state: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize('kind', BROKEN)
def test_a_broken_history_is_set_aside(run, tmp_path, kind):
    path = tmp_path / FILE
    BROKEN[kind](path, run[1])
    explored = explorer()
    for _ in range(2):
        explored.step()
    with patch.object(history, 'print_log') as told:
        record = History(tmp_path, explored, LENGTH)
    step(explored, record)
    assert [e['step'] for e in read_history(path)['entries']] == [2, 3]
    (old,) = tmp_path.glob(f'{FILE}.old*')
    assert f'the old one is now {old}.' in told.call_args.args[0]
    assert old.name == f'{FILE}.old1'
    BROKEN['text'](path, run[1])
    again = explorer()
    again.step()
    History(tmp_path, again, LENGTH)
    assert (tmp_path / f'{FILE}.old2').read_text() == 'hello'


@pytest.mark.parametrize('kind', [k for k in BROKEN if k != 'other groups'])
def test_a_broken_history_is_refused_in_one_line(run, tmp_path, kind):
    path = tmp_path / FILE
    BROKEN[kind](path, run[1])
    with pytest.raises(ChexError, match='is not the history of a') as error:
        read_history(path)
    assert str(path) in str(error.value)
    assert '\n' not in str(error.value)


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, stored = tmp_path / FILE, []
    monkeypatch.setattr('os.fsync', lambda file: stored.append(path.is_file()))
    record = History(tmp_path, explored := explorer(), LENGTH)
    step(explored, record)
    assert stored == [False, True]
