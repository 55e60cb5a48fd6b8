"""Kill a run anywhere, even while it writes: it resumes as if it had not."""

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from mmengine.fileio import get_file_backend

import chex_mm.engine  # noqa: F401
from chex_mm.engine.latest_checkpoint import latest_checkpoint
from chex_mm.patches.whole_files import WholeFileBackend

from ..engine.toy_runs import build, chex, differences, everything

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


def save(path, age=0, time='20260102_030405', **others):
    meta = dict(iter=7, epoch=0, time=time)
    state = dict(meta=meta, state_dict={}, message_hub={}, optimizer={})
    torch.save({**state, **others}, path)
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


def test_a_copied_directory_goes_on_from_its_own_checkpoint(tmp_path):
    """Also if that of the directory it was copied from is still there."""
    old, new = tmp_path / 'old', tmp_path / 'new'
    for folder in (old, new):
        folder.mkdir()
        save(folder / 'iter_1.pth')
        save(folder / 'iter_2.pth')
        (folder / 'last_checkpoint').write_text(str(old / 'iter_1.pth'))
    assert latest_checkpoint(str(new)) == str(new / 'iter_1.pth')
    (new / 'iter_1.pth').unlink()
    assert latest_checkpoint(str(new)) == str(old / 'iter_1.pth')


def test_a_checkpoint_may_lie_elsewhere(tmp_path):
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    save(elsewhere / 'iter_1.pth')
    (tmp_path / 'last_checkpoint').write_text(str(elsewhere / 'iter_1.pth'))
    assert latest_checkpoint(str(tmp_path)) == str(elsewhere / 'iter_1.pth')


def test_the_newest_is_what_the_run_wrote_last_not_what_was_copied_last(
    tmp_path,
):
    save(tmp_path / 'iter_1.pth', time='20260102_030405')
    save(tmp_path / 'iter_2.pth', age=9, time='20260102_030406')
    assert latest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_2.pth')


def test_weights_that_are_the_best_are_the_last_resort(tmp_path):
    save(tmp_path / 'iter_1.pth', age=1)
    save(tmp_path / 'best.pth')
    best = torch.load(tmp_path / 'best.pth')
    del best['optimizer']
    torch.save(best, tmp_path / 'best.pth')
    assert latest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_1.pth')
    (tmp_path / 'iter_1.pth').unlink()
    assert latest_checkpoint(str(tmp_path)) == str(tmp_path / 'best.pth')


NO_CHECKPOINTS = {
    'a history': lambda path: torch.save(dict(entries=[], groups={}), path),
    'a tensor': lambda path: torch.save(torch.ones(3), path),
    'weights': lambda path: torch.save(dict(state_dict={}), path),
    'nothing': lambda path: path.touch(),
    'text': lambda path: path.write_text('hello'),
    'a pickle': lambda path: path.write_bytes(pickle.dumps([1])),
    'a zip': lambda path: zipfile.ZipFile(path, 'w').close(),
    'a folder': lambda path: path.mkdir(),
}


@pytest.mark.parametrize('note', ['iter_9.pth', '\0', 'x' * 5000, '.', ''])
@pytest.mark.parametrize('kind', NO_CHECKPOINTS)
def test_what_is_no_checkpoint_is_passed_over(tmp_path, kind, note):
    (tmp_path / 'last_checkpoint').write_text(note)
    NO_CHECKPOINTS[kind](tmp_path / 'iter_9.pth')
    assert latest_checkpoint(str(tmp_path)) is None
    save(tmp_path / 'iter_1.pth', age=9)
    assert latest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_1.pth')


def test_a_run_without_a_checkpoint_starts_anew(tmp_path):
    """Also under mmengine's own `resume=True`, and with a stale note."""
    work_dir = tmp_path / 'work'
    work_dir.mkdir()
    (work_dir / 'last_checkpoint').write_text('gone/iter_5.pth')
    torch.save(dict(entries=[]), work_dir / 'chex_history.pth')
    runner = build(work_dir, resume=True)
    with patch.object(runner.logger, 'warning') as warned:
        runner.train()
    assert (
        f'There is no checkpoint to resume in {work_dir}; training starts '
        'anew.'
    ) in [call.args[0] for call in warned.call_args_list]
    whole = build(tmp_path / 'whole')
    whole.train()
    assert differences(everything(runner), everything(whole)) == []


def test_mmengines_own_resume_goes_on_in_a_renamed_directory(tmp_path):
    whole = build(tmp_path / 'old')
    whole.train()
    for path in (tmp_path / 'old').glob('iter_*.pth'):
        if path.name != 'iter_9.pth':
            path.unlink()
    (tmp_path / 'old').rename(tmp_path / 'new')
    runner = build(tmp_path / 'new', resume=True)
    runner.train()
    assert runner._load_from == str(tmp_path / 'new' / 'iter_9.pth')
    assert differences(everything(runner), everything(whole)) == []


# The process ends, as if it were killed, when the bytes of its ninth file are
# on the disk and not yet under their name, or half of them are.
KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
import torch
torch.set_num_threads({threads})  # sums of other threads round differently
from tests.engine.toy_runs import build, chex
import chex_mm.files as files
written = []
def die(file):
    if '/.iter_' in os.readlink(f'/proc/self/fd/{{file}}'):
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
