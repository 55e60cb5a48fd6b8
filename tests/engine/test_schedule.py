"""When exploration steps are due."""

import pytest

from chex_mm.engine.hooks.schedule import Schedule


def test_long_runs_get_the_papers_schedule():
    due = Schedule().iterations(90000, 7500)
    assert len(due) == 90
    assert due[0] == 720
    assert due[-1] == 64800


def test_short_runs_get_fewer_steps():
    assert Schedule().iterations(100, None) == (18, 36, 54, 72)


def test_begin_and_end_as_shares():
    due = Schedule(steps=4, begin=0.2, end=0.6).iterations(1000, None)
    assert due == (300, 400, 500, 600)


def test_interval_begin_and_end_in_epochs():
    schedule = Schedule(interval=2, begin=1, end=8)
    assert schedule.iterations(100, 10) == (30, 50, 70)


def test_interval_in_iterations():
    schedule = Schedule(interval=15, begin=10, end=60, by_epoch=False)
    assert schedule.iterations(100, 10) == (25, 40, 55)


@pytest.mark.parametrize(
    ('schedule', 'text'),
    [
        (Schedule(by_epoch=True), r'write CHEXHook\(by_epoch=False\)'),
        (Schedule(begin=0.8), 'begin must come before end'),
        (Schedule(end=101), 'end not after the run'),
        (Schedule(interval=80), 'interval=80 is longer than'),
        (Schedule(end=0.02), '4 exploration steps do not fit'),
    ],
)
def test_schedules_that_cannot_be(schedule, text):
    with pytest.raises(ValueError, match=text):
        schedule.iterations(100, None)


@pytest.mark.parametrize(
    'name, value',
    [
        *(('interval', value) for value in (0, -1, 1.5, '2', True)),
        *(('steps', value) for value in (0, 1.5, '3', None, True)),
        *(('end', value) for value in (-1, 1.5, '1', True, None)),
        *(('begin', value) for value in (-1, -0.5, 'now', float('nan'))),
    ],
)
def test_numbers_that_nobody_means(name, value):
    with pytest.raises(ValueError, match='such as') as error:
        Schedule(**{name: value})
    assert f'{name}={value!r}' in str(error.value)
    assert '\n' not in str(error.value)


def test_one_epoch_may_have_been_meant_as_all_of_them():
    (said,) = Schedule(end=1).warnings()
    assert 'for the end of training write end=1.0.' in said
    assert Schedule(end=1.0).warnings() == Schedule(end=12).warnings() == []
