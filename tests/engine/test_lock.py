"""A work directory belongs to one run, until that ends, however it ends."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from chex_mm.engine.hooks.lock import FILE, RunLock

from .toy_runs import build

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
sys.path.insert(0, {root!r})
from chex_mm.engine.hooks.lock import RunLock
RunLock({work_dir!r}).take()
print('taken', flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of the directory."""
    code = HOLDER.format(root=str(ROOT), work_dir=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', code],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == 'taken\n'
        yield process
        process.kill()


def test_a_second_run_is_refused_until_the_first_is_gone(tmp_path, holder):
    with pytest.raises(ValueError, match='Another run trains in') as error:
        build(tmp_path).train()
    assert f'process {holder.pid} on {socket.gethostname()}, since ' in str(
        error.value
    )
    assert 'give this one a --work-dir of its own' in str(error.value)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    build(tmp_path).train()
    assert (tmp_path / 'iter_24.pth').is_file()


def test_testing_in_the_directory_of_a_run_is_no_second_run(tmp_path, holder):
    metrics = build(
        tmp_path,
        test_dataloader=build(tmp_path)._val_dataloader,
        test_cfg=dict(),
        test_evaluator=[dict(type='ToyAccuracy')],
    ).test()
    assert 'accuracy' in metrics


def test_the_end_of_a_run_lets_the_next_in(tmp_path):
    lock = RunLock(tmp_path)
    lock.take()
    code = HOLDER.replace('time.sleep(60)', '').format(
        root=str(ROOT), work_dir=str(tmp_path)
    )

    def another():
        return subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', code],
            capture_output=True,
            text=True,
            check=False,
        )

    refused = another()
    assert refused.returncode == 1
    assert f'process {os.getpid()} on' in refused.stderr
    lock.release()
    assert list(tmp_path.iterdir()) == []
    assert another().returncode == 0


def test_a_lock_that_was_removed_meanwhile_is_no_lock(tmp_path):
    """The last owner removes the file between opening and locking it."""
    path, real = tmp_path / FILE, fcntl.lockf
    path.touch()
    removed = []

    def lock(file, how):
        if not removed:
            removed.append(path.unlink())
        real(file, how)

    lock_of_run = RunLock(tmp_path)
    with patch('fcntl.lockf', side_effect=lock):
        lock_of_run.take()
    assert f'process {os.getpid()} on' in path.read_text()
    lock_of_run.release()


def test_a_file_system_without_locks_is_told_and_no_obstacle(tmp_path):
    with (
        patch('fcntl.lockf', side_effect=OSError(37, 'No locks available')),
        patch('chex_mm.engine.hooks.lock.print_log') as told,
    ):
        RunLock(tmp_path).take()
    assert 'cannot be locked (No locks available)' in told.call_args.args[0]


def test_what_a_killed_run_was_writing_is_removed(tmp_path):
    torn = tmp_path / '.iter_7.pth-a1b2c3d4'
    torn.mkdir()
    (torn / 'iter_7.pth').write_bytes(b'half')
    (tmp_path / '.other').mkdir()
    build(tmp_path, train_cfg=dict(by_epoch=False, max_iters=8)).train()
    hidden = {path.name for path in tmp_path.glob('.*')}
    assert hidden == {'.other'}


def test_the_other_ranks_hear_of_it(tmp_path):
    module = 'chex_mm.engine.hooks.lock'

    def broadcast(data):
        data[0] = 'process 7'

    with (
        patch(f'{module}.is_main_process', return_value=False),
        patch(f'{module}.broadcast_object_list', side_effect=broadcast),
        pytest.raises(ValueError, match='process 7'),
    ):
        RunLock(tmp_path).take()
    assert not (tmp_path / FILE).exists()
