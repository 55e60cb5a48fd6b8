"""Kills a run again and again; what it ends with is, bit for bit, the same.

    python benchmarks/kills.py --kills 40

Every run is killed (SIGKILL) at random moments and resumed as `tools/train.py
--resume` does, a few times, until it is done. Its last checkpoint is compared
with that of a run that nobody killed.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
EXECUTIONS = ('masked', 'compact')
ITERATIONS = 24
LAST = f'iter_{ITERATIONS}.pth'
MOST = 4  # kills of a run, after which it may come to its end
PARTS = ('state_dict', 'optimizer', 'param_schedulers', 'chex', 'message_hub')


def run(work_dir: str, execution: str) -> None:
    """What one process does: it trains, from the latest checkpoint on."""
    from tests.engine.toy_runs import build, chex

    torch.set_num_threads(1)
    runner = build(
        work_dir,
        resume=True,
        custom_hooks=[chex(execution=execution), dict(type='EMAHook')],
        param_scheduler=dict(
            type='OneCycleLR', eta_max=0.1, total_steps=24, by_epoch=False
        ),
    )
    print('built', flush=True)
    runner.train()


def start(work_dir: Path, execution: str) -> subprocess.Popen:
    command = [sys.executable, '-W', 'ignore', __file__, '--run', execution]
    return subprocess.Popen(
        [*command, '--work-dir', str(work_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        text=True,
    )


def wait_until_built(process: subprocess.Popen) -> None:
    for line in process.stdout:
        if line == 'built\n':
            return
    raise SystemExit(f'A run could not begin:\n{line}')


def kill(
    process: subprocess.Popen, work_dir: Path, draw: random.Random
) -> str:
    """Kills a process at, or soon after, an iteration; says when.

    It may be writing the checkpoint of that iteration, which is then in a
    hidden folder, or have gone on.
    """
    iteration = draw.randint(latest(work_dir), ITERATIONS)
    while not any(work_dir.glob(f'*iter_{iteration}.pth*')):
        if process.poll() is not None or not iteration:
            break
        time.sleep(0.001)
    time.sleep(draw.choice([0, draw.uniform(0, 0.3)]))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    torn = any(work_dir.glob('.*.pth-*'))
    return f'{latest(work_dir)}{" writing" if torn else ""}'


def finish(process: subprocess.Popen) -> None:
    said, _ = process.communicate(timeout=600)
    if process.returncode:
        raise SystemExit(f'A run has failed:\n{said[-3000:]}')


def latest(work_dir: Path) -> int:
    """The last iteration that there is a checkpoint of."""
    written = work_dir.glob('iter_*.pth')
    return max((int(p.stem.rpartition('_')[2]) for p in written), default=0)


def differing(one: Path, other: Path) -> list[str]:
    """What differs in the last checkpoints of two runs."""
    from tests.engine.toy_runs import differences, flatten

    found = []
    both = [torch.load(folder / LAST) for folder in (one, other)]
    for part in PARTS:
        flat = [dict(flatten(part, plain(each[part]))) for each in both]
        found += differences(*flat)
    return found


def plain(state):
    """Without seconds, which no two runs share, and what validation told.

    mmengine validates after it has written a checkpoint, and a run that is
    resumed from there does not do it again.
    """
    if 'log_scalars' not in state:
        return state
    return {
        name: history.data[0]
        for name, history in state['log_scalars'].items()
        if 'time' not in name and not name.startswith('val/')
    }


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--kills', type=int, default=40)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--run', choices=EXECUTIONS)
    parser.add_argument('--work-dir')
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.work_dir, arguments.run)
        return
    import chex_mm.engine  # noqa: F401  (lets torch read the checkpoints)

    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder), arguments.kills, random.Random(arguments.seed))


def report(folder: Path, kills: int, draw: random.Random) -> None:
    """Prints a line for every run until so many were killed."""
    for execution in EXECUTIONS:
        finish(start(folder / execution, execution))
    print('run | execution | latest checkpoint when it was killed | differing')
    done = number = wrong = 0
    while done < kills:
        execution = EXECUTIONS[number % len(EXECUTIONS)]
        work_dir, moments = folder / str(number), []
        for _ in range(min(kills - done, MOST)):
            process = start(work_dir, execution)
            wait_until_built(process)
            moments.append(kill(process, work_dir, draw))
        finish(start(work_dir, execution))
        found = differing(folder / execution, work_dir)
        torn = [path.name for path in work_dir.glob('.*')]
        done, number = done + len(moments), number + 1
        wrong += bool(found or torn)
        print(
            f'{number} | {execution} | {", ".join(moments)} | '
            f'{found[:3] or "nothing"}{torn or ""}',
            flush=True,
        )
    print(f'{done} kills, {number} runs, {wrong} of them not the same.')
    raise SystemExit(bool(wrong))


if __name__ == '__main__':
    main()
