"""Kill a run anywhere, even while it writes: it resumes as if it had not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.fileio import get_file_backend

import chex_mm.engine  # noqa: F401
from chex_mm.engine.whole_files import WholeFileBackend, latest_checkpoint

from .toy_runs import build, chex, differences, everything

ROOT = Path(__file__).parents[2]


def test_mmengine_writes_whole_files(tmp_path):
    backend = get_file_backend(str(tmp_path))
    assert isinstance(backend, WholeFileBackend)
    path = tmp_path / 'new' / 'text'
    backend.put_text('före', path)
    backend.put_text('efter', path)
    assert path.read_text(encoding='utf-8') == 'efter'
    assert os.listdir(path.parent) == ['text']


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    backend, path = WholeFileBackend(), tmp_path / 'file'
    backend.put(b'before', path)

    def full(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        backend.put(b'after', path)
    assert path.read_bytes() == b'before'
    assert os.listdir(tmp_path) == ['file']


def save(path, age=0):
    torch.save({}, path)
    os.utime(path, (1e9 - age, 1e9 - age))


def test_the_noted_checkpoint_is_the_latest(tmp_path):
    save(tmp_path / 'iter_1.pth', age=1)
    save(tmp_path / 'best.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_1.pth'))
    assert latest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_1.pth')


@pytest.mark.parametrize('note', ['', 'gone.pth', None])
def test_without_a_note_it_is_the_newest(tmp_path, note):
    save(tmp_path / 'iter_1.pth', age=1)
    save(tmp_path / 'iter_2.pth')
    if note is not None:
        (tmp_path / 'last_checkpoint').write_text(note)
    assert latest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_2.pth')


def test_a_torn_checkpoint_is_passed_over(tmp_path):
    for number in (1, 2):
        save(tmp_path / f'iter_{number}.pth', age=-number)
    torn = tmp_path / 'iter_2.pth'
    torn.write_bytes(torn.read_bytes()[:-100])
    (tmp_path / 'last_checkpoint').write_text(str(torn))
    assert latest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_1.pth')
    (tmp_path / 'iter_1.pth').unlink()
    assert latest_checkpoint(str(tmp_path)) is None


# The process ends, as if it were killed, when the bytes of its ninth file are
# on the disk and not yet under their name, or half of them are.
KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
import torch
torch.set_num_threads({threads})  # sums of other threads round differently
from tests.engine.toy_runs import build, chex
import chex_mm.engine.whole_files as files
written = []
def die(*_):
    written.append(1)
    if len(written) == 9:
        if {half}:
            (part,) = Path({work_dir!r}).glob('.iter_*/*')
            os.truncate(part, part.stat().st_size // 2)
        os._exit(9)
files.os.fsync = die
build({work_dir!r}, custom_hooks=[chex(execution={execution!r})]).train()
"""


@pytest.mark.slow
@pytest.mark.parametrize('execution', ['masked', 'compact'])
@pytest.mark.parametrize('half', [False, True])
def test_killed_while_it_writes(tmp_path, execution, half):
    work_dir = str(tmp_path / 'killed')
    script = KILLED.format(
        root=str(ROOT),
        work_dir=work_dir,
        half=half,
        execution=execution,
        threads=torch.get_num_threads(),
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', script],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 9, done.stderr.decode()
    last = latest_checkpoint(work_dir)
    assert last == f'{work_dir}/iter_8.pth'
    hooks = [chex(execution=execution)]
    resumed = build(work_dir, load_from=last, resume=True, custom_hooks=hooks)
    resumed.train()
    whole = build(tmp_path / 'whole', custom_hooks=hooks)
    whole.train()
    assert differences(everything(resumed), everything(whole)) == []
