"""Makes the environment `.venv`, stage by stage, saying how long is left.

It runs before anything is installed, so it needs the standard library only.
What an earlier run installed or built is kept.
"""

from __future__ import annotations

import os
import platform
import queue
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
BUILT = VENV / 'wheels'
LOG = VENV / 'install.log'
STAMP = VENV / 'installed'
NEEDS_3D = 'requirements-mmdet3d.txt'
STAMP_3D = VENV / 'installed-mmdet3d'
HERE = '--no-deps', '--no-build-isolation'
SILENCE = 15  # seconds without a line after which one is printed


@dataclass
class Reporter:
    """Turns the output of pip and ninja into a few lines of progress.

    Attributes:
        later: Seconds that the stages after this one will take.
        expected: Seconds this stage will take, before anything is known.
    """

    expected: float
    later: float
    begin: float = field(default_factory=time.monotonic)
    last: float = 0.0
    doing: str = 'starting'
    compiled: tuple[int, int] = (0, 0)

    def line(self, text: str) -> None:
        """Takes one line of output; most say nothing about progress."""
        compiled = re.match(r'\s*\[(\d+)/(\d+)\] ', text)
        download = re.match(r'\s*Downloading (\S+?-\d[^-]*)-.*(\(.*\))', text)
        install = re.match(r'\s*Installing collected packages: (.*)', text)
        if compiled:
            self.compiled = (int(compiled[1]), int(compiled[2]))
            self.doing = f'compiled {compiled[1]} of {compiled[2]} files'
        elif download:
            self.doing = f'downloading {download[1]} {download[2]}'
        elif install:
            self.doing = f'installing {install[1].count(",") + 1} packages'
        else:
            return
        if time.monotonic() - self.last > SILENCE / 3:
            self.tell()

    def tell(self) -> None:
        """Prints what is going on."""
        self.last = time.monotonic()
        done, total = self.compiled
        elapsed = self.last - self.begin
        left = max(self.expected - elapsed, 0)
        if done:
            left = elapsed * (total - done) / done
        left = duration(left + self.later)
        print(f'      {self.doing} ({left} left)', flush=True)


@dataclass(frozen=True)
class Stage:
    """One step of the installation and about how many seconds it takes."""

    title: str
    seconds: float
    run: Callable[[Reporter], None]


def duration(seconds: float) -> str:
    if seconds < 90:
        return 'about a minute' if seconds > 40 else 'less than a minute'
    return f'about {seconds / 60:.0f} minutes'


def execute(
    command: list, reporter: Reporter, changes: Mapping[str, str] | None = None
) -> None:
    """Runs a command; its output goes to the log, progress to the screen."""
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, **(changes or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
    )
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for text in process.stdout:
            lines.put(text)
        lines.put('')

    threading.Thread(target=read, daemon=True).start()
    with LOG.open('a') as log:
        while True:
            try:
                text = lines.get(timeout=SILENCE)
            except queue.Empty:
                reporter.tell()
                continue
            if not text:
                break
            log.write(text)
            reporter.line(text)
    if process.wait():
        tail = LOG.read_text(errors='replace').splitlines()[-25:]
        sys.exit(
            '\n'.join([*tail, f'This failed: {" ".join(process.args)}'])
            + f'\nThe whole output is in {LOG.relative_to(ROOT)}.'
        )


def pinned(*names: str) -> list[str]:
    """The lines of requirements.txt for some packages."""
    text = (ROOT / 'requirements.txt').read_text()
    return [
        re.search(rf'^{name}\b[^-\n]*$', text, re.MULTILINE)[0]
        for name in names
    ]


def pip(*arguments) -> list:
    return [PYTHON, '-m', 'pip', *arguments]


def has_mmcv(wheels: list[Path]) -> bool:
    """Whether mmcv is installed, or a wheel fits this Python."""
    version = pinned('mmcv')[0].partition('==')[2]
    tag = f'cp{sys.version_info.major}{sys.version_info.minor}'
    wheel = f'mmcv-{version}-{tag}-*_{platform.machine()}.whl'
    return any(
        [
            *VENV.glob(f'lib/python*/site-packages/mmcv-{version}.dist-info'),
            *(found for folder in wheels for found in folder.glob(wheel)),
        ]
    )


def build_environment() -> dict[str, str]:
    """How mmcv's setup.py is told what to build."""
    cores = os.cpu_count() or 1
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    defaults = {
        'MMCV_WITH_OPS': '1',
        'FORCE_CUDA': '0',
        # These take the place of Python's own flags, so -O2 must be said.
        'CFLAGS': '-O2 -DNDEBUG -g0',
        # A compiler takes up to 2 GB on torch's headers.
        'MAX_JOBS': str(max(1, min(cores, memory // 2**31))),
    }
    if shutil.which('nvcc') is None:
        # A GPU alone would make it ask for the CUDA compiler.
        defaults['CUDA_VISIBLE_DEVICES'] = ''
    # ninja is run by name.
    path = f'{VENV / "bin"}{os.pathsep}{os.environ["PATH"]}'
    return {**defaults, **os.environ, 'PATH': path}


def check_machine(compiles: bool) -> None:
    """Refuses a machine on which a later stage would fail."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        sys.exit(
            f'This is Python {platform.python_version()}; the pinned stack '
            'needs 3.10 to 3.12 (tested: 3.11). Choose one with '
            'make PYTHON=python3.11 venv'
        )
    header = Path(sysconfig.get_path('include'), 'Python.h')
    if compiles and not (shutil.which('g++') and header.is_file()):
        sys.exit(
            'mmcv is compiled here and needs a C++ compiler and the headers '
            'of Python. On Debian: apt install g++ python3-dev'
        )


def make_environment(reporter: Reporter) -> None:
    execute([sys.executable, '-m', 'venv', VENV], reporter)


def install_torch(reporter: Reporter) -> None:
    tools = [*pinned('torch', 'numpy', 'setuptools'), 'wheel', 'ninja']
    execute(pip('install', *tools, 'psutil'), reporter)


def compile_mmcv(reporter: Reporter) -> None:
    build = pip('wheel', '-v', *HERE, *pinned('mmcv'), '-w', BUILT)
    execute(build, reporter, build_environment())


def install_this(reporter: Reporter) -> None:
    execute(pip('install', *HERE, '-e', '.'), reporter)


def install_rest(reporter: Reporter, links: list) -> None:
    execute(pip('install', '-r', 'requirements-dev.txt', *links), reporter)
    works = subprocess.run(
        [PYTHON, '-c', 'import cv2'], capture_output=True, check=False
    )
    if works.returncode:
        # Without an X server's libraries only the headless build loads; it
        # takes the place of the other, which mmengine asks for by name.
        headless = pinned('opencv-python')[0].replace(
            'python', 'python-headless'
        )
        execute(
            pip('install', '--force-reinstall', '--no-deps', headless),
            reporter,
        )


def stages(wheels: list[Path], has_3d: bool) -> list[Stage]:
    """What is left to do, in order."""
    links = [f'--find-links={folder}' for folder in wheels]
    modules = ['mmcv.ops', 'mmdet', 'chex_mm']
    todo = [
        Stage('Python environment .venv', 10, make_environment),
        Stage('torch and build tools', 100, install_torch),
    ]
    if not has_mmcv(wheels):
        todo.append(Stage('mmcv, compiled from source', 600, compile_mmcv))
    todo.append(
        Stage('mmdet and the rest', 60, lambda r: install_rest(r, links))
    )
    if has_3d:
        needs = pip('install', '-r', NEEDS_3D, *links)
        todo.append(
            Stage(
                'mmdet3d and what it needs', 120, lambda r: execute(needs, r)
            )
        )
        modules += ['mmdet3d', 'spconv']
    trial = [PYTHON, '-c', f'import {", ".join(modules)}']
    return [
        *todo,
        Stage('chex_mm itself', 10, install_this),
        Stage('trying it', 15, lambda r: execute(trial, r)),
    ]


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument(
        '--wheels',
        type=Path,
        action='append',
        default=[],
        help='a folder that may hold a wheel of mmcv',
    )
    parser.add_argument(
        '--mmdet3d', action='store_true', help='also what point clouds need'
    )
    arguments = parser.parse_args()
    wheels = [*arguments.wheels, BUILT]
    check_machine(compiles=not has_mmcv(wheels))
    BUILT.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    todo = stages(wheels, arguments.mmdet3d)
    for number, stage in enumerate(todo, 1):
        later = sum(other.seconds for other in todo[number:])
        print(
            f'[{number}/{len(todo)}] {stage.title} '
            f'({duration(stage.seconds + later)} left)',
            flush=True,
        )
        stage.run(Reporter(stage.seconds, later))
    STAMP.touch()
    if arguments.mmdet3d:
        STAMP_3D.touch()
    print(f'The environment {VENV.name} is ready.')


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('Stopped. The next run keeps what is installed.')
