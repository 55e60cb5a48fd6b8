"""Every command of README and docs is run, in the order of its page.

The tools run as they are written there. `my_config.py` trains for hours, so
what `chexify` writes is checked and a small run takes its name.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import mmdet
import pytest

from chex_mm.cli.command_line import load_config
from chex_mm.engine.datasets.synthetic import write_shapes

from ..test_docs import COMMANDS, ROOT

pytestmark = pytest.mark.slow

SMALL = """
_base_ = {base!r}
data_root = {data!r}
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'val.json')
test_evaluator = val_evaluator
train_cfg = dict(max_iters=12, val_interval=12)
default_hooks = dict(checkpoint=dict(interval=12))
"""
# What other parts of .ci/run do: the environment, the demos and this suite.
# What MMDET is set to is known here.
ELSEWHERE = {'make', 'pip', 'git', 'source', 'MMDET'}
# Stands for Slurm's: drops its own options, and runs one process.
SRUN = """#!/usr/bin/env bash
while [[ $1 == -* ]]; do
    if [ "$1" = -p ]; then shift; fi
    shift
done
exec "${@/#slurm/none}"
"""
PAGES = list(dict.fromkeys(page for page, _ in COMMANDS))


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder as a checkout is, with the small run in it."""
    folder = tmp_path_factory.mktemp('checkout')
    for name in ('tools', 'configs'):
        (folder / name).symlink_to(ROOT / name)
    write_shapes(f'{folder}/data/', {'train': 8, 'val': 3})
    programs = folder / 'programs'
    programs.mkdir()
    (programs / 'srun').write_text(SRUN)
    (programs / 'srun').chmod(0o755)
    use_small(folder)
    run(folder, ['python', 'tools/train.py', 'my_config.py'])
    work = folder / 'work_dirs/my_config'
    for epochs in 12, 72:  # as long as a page trains for
        shutil.copy(work / 'iter_12.pth', work / f'epoch_{epochs}.pth')
    demo = folder / 'work_dirs/demo'
    shutil.copytree(work, demo)
    trained = ['my_config.py', f'{demo}/iter_12.pth', '--out', f'{demo}/slim']
    run(folder, ['python', 'tools/slim.py', *trained])
    # What a page needs may be made on one that another process runs.
    shutil.copytree(demo / 'slim', work / 'slim')
    return folder


def use_small(folder):
    base = str(ROOT / 'configs/demo/mask_rcnn_demo_chex.py')
    text = SMALL.format(base=base, data=f'{folder}/data/')
    (folder / 'my_config.py').write_text(text)


def run(folder, words):
    """Runs a command in `folder`; it must end well."""
    environment = {
        **os.environ,
        'PATH': f'{folder}/programs:{Path(sys.executable).parent}:'
        + os.environ['PATH'],
        'PYTHONPATH': str(ROOT),
        # Two processes with several threads each wait for each other.
        'OMP_NUM_THREADS': '1',
    }
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)


def on_this_machine(words):
    """The same command for two processes and small images."""
    words = [word.replace('$MMDET', *mmdet.__path__) for word in words]
    smaller = {'8': '2', '800': '128', '1344': '128'}
    return [smaller.get(word, word) for word in words]


def clear(folder, words):
    """Removes what an earlier page's command wrote to the same place."""
    if '--out' in words:
        out = folder / words[words.index('--out') + 1]
        if out.is_dir():
            shutil.rmtree(out)
        else:
            out.unlink(missing_ok=True)
    if words[1] == 'tools/export.py':
        written = (folder / words[3]).parent
        for file in (*written.glob('*.onnx'), *written.glob('slim.json')):
            file.unlink()


def kind(words):
    """The program, or the variable that is set."""
    return words[0].partition('=')[0]


def to_run(page):
    """The commands of a page that no page before it has."""
    for name, words in COMMANDS:
        first = next(other for other, same in COMMANDS if same == words)
        is_here = kind(words) not in ELSEWHERE and (
            find_spec('mmdet3d') or not any('votenet' in w for w in words)
        )
        if name == first == page and is_here:
            yield words


def test_what_is_not_run_here_is_known():
    runs = {kind(words) for _, words in COMMANDS} - ELSEWHERE
    assert runs == {'python', 'bash'}


@pytest.mark.parametrize('page', PAGES)
def test_commands_of_a_page(page, place):
    for words in to_run(page):
        clear(place, words)
        run(place, on_this_machine(words))
        if words[1] == 'tools/chexify.py' and 'my_config.py' in words:
            written = load_config(str(place / 'my_config.py'))
            assert written.custom_hooks[-1].budget.keep == 0.5
            use_small(place)
