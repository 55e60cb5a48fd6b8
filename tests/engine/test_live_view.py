"""What a run shows while it goes on: a line per step, and TensorBoard."""

import re

import pytest
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from .toy_runs import build, hook_of


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A finished run that writes for TensorBoard, and its folder."""
    folder = tmp_path_factory.mktemp('live')
    backends = [
        dict(type='LocalVisBackend'),
        dict(type='TensorboardVisBackend'),
    ]
    runner = build(
        folder,
        visualizer=dict(type='Visualizer', name='live', vis_backends=backends),
    )
    runner.train()
    runner.visualizer.close()
    return runner, folder


def test_tensorboard_gets_the_scalars_of_every_step(run):
    runner, folder = run
    explorer = hook_of(runner).explorer
    events = EventAccumulator(str(next(folder.glob('*/vis_data')))).Reload()
    found = {
        tag: events.Scalars(tag)
        for tag in events.Tags()['scalars']
        if tag.startswith('chex/')
    }
    active = {f'chex/active/{name}' for name in explorer.keep}
    assert active < set(found)
    assert {
        'chex/flops_share',
        'chex/regrow_factor',
        'chex/added',
        'chex/removed',
    } < set(found)
    steps = list(hook_of(runner).explorer.schedule)
    assert all([e.step for e in each] == steps for each in found.values())
    last = {name: found[f'chex/active/{name}'][-1] for name in explorer.keep}
    for name, mask in explorer.keep.items():
        assert last[name].value == mask.sum()
    assert found['chex/regrow_factor'][-1].value == 0


def test_the_log_has_one_line_per_step(run):
    runner, folder = run
    log = next(folder.glob('*/*.log')).read_text()
    lines = re.findall(
        r'CHEX step (\d+)/(\d+): FLOPs 0\.\d\d, '
        r'\+\d+ [-−]\d+ channels, \d+\.\d s',
        log,
    )
    total = hook_of(runner).explorer.total_steps
    expected = [(str(n + 1), str(total)) for n in range(total)]
    assert lines == expected
