"""Verdicts come from processes that may crash, hang or say nothing."""

import multiprocessing
import os
import time

import pytest

from benchmarks.zoo.verdict import Verdict
from benchmarks.zoo.walk import walk

# What other tests have started does not run on in a forked process.
pytestmark = pytest.mark.filterwarnings('ignore:.*multi-threaded')


def judge(name):
    if name == 'crashes':
        os._exit(3)
    if name == 'complains':
        os.write(2, b'first line\nwhat went wrong\n')
        os._exit(1)
    if name == 'raises':
        raise SystemExit('no model')
    if name == 'hangs':
        time.sleep(60)
    return Verdict(name, 'exact', seconds=1)


def test_each_gets_a_verdict():
    names = ['fine', 'crashes', 'complains', 'raises', 'last']
    found = {v.name: v for v in walk(names, judge, limit=30)}
    assert list(found) == names
    assert found['fine'] == Verdict('fine', 'exact', seconds=1)
    assert found['last'].status == 'exact'
    assert found['crashes'].status == 'fails'
    assert found['crashes'].reason == 'exit status 3: no output'
    assert found['complains'].reason == 'exit status 1: what went wrong'
    assert found['raises'].reason == 'SystemExit: no model'


def test_what_hangs_is_ended():
    begin = time.monotonic()
    found = {v.name: v for v in walk(['hangs', 'fine'], judge, 1, jobs=2)}
    assert time.monotonic() - begin < 20
    assert found['hangs'].status == 'fails'
    assert found['hangs'].reason == 'took more than 1 seconds'
    assert found['hangs'].seconds >= 1
    assert found['fine'].status == 'exact'


def test_nothing_runs_on_after_an_end():
    verdicts = walk(['hangs', 'fine', 'last'], judge, 60, jobs=2)
    assert next(verdicts).name == 'fine'
    before = multiprocessing.active_children()
    verdicts.close()
    for process in before:
        process.join(10)
    assert before and not any(process.is_alive() for process in before)
