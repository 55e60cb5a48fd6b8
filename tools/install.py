"""Makes the environment `.venv` with pip, in stages.

It runs before anything is installed, so it needs the standard library only.
What an earlier run installed is kept.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from argparse import ArgumentParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
LOG = VENV / 'install.log'
NEEDS, NEEDS_3D = 'requirements.txt', 'requirements-mmdet3d.txt'
# What setup.py of mmcv imports or runs.
BUILD = 'torch', 'numpy', 'setuptools', 'wheel', 'ninja', 'psutil'
HERE = '--no-deps', '--no-build-isolation'
SILENCE = 15  # seconds after which the last line of the log is shown


def execute(title: str, *command, **changes) -> None:
    """Runs a command; its output goes to the log, at times to the screen."""
    print(title, flush=True)
    begin = time.monotonic()
    with LOG.open('a') as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env={**os.environ, **changes},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        while process.returncode is None:
            try:
                process.wait(SILENCE)
            except subprocess.TimeoutExpired:
                last = LOG.read_text(errors='replace').rstrip()
                last = last.rpartition('\n')[-1].strip()[:70]
                seconds = time.monotonic() - begin
                print(f'  {seconds:3.0f} s  {last}', flush=True)
    if process.returncode:
        lines = LOG.read_text(errors='replace').splitlines()[-25:]
        failed = f'This failed: {" ".join(process.args)}'
        where = f'The whole output is in {LOG.relative_to(ROOT)}.'
        sys.exit('\n'.join([*lines, failed, where]))


def pip(title: str, *arguments, **changes) -> None:
    python = VENV / 'bin' / 'python'
    execute(title, python, '-m', 'pip', 'install', *arguments, **changes)


def check_machine(wheels: list[Path]) -> None:
    """Refuses a machine on which a later stage would fail."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        sys.exit(
            f'This is Python {platform.python_version()}; the pinned stack '
            'needs 3.10 to 3.12 (tested: 3.11). Choose one with '
            'make PYTHON=python3.11 venv'
        )
    version = re.search(r'(?m)^mmcv==(\S+)', (ROOT / NEEDS).read_text())[1]
    tag = f'cp{sys.version_info.major}{sys.version_info.minor}'
    wheel = f'mmcv-{version}-{tag}-*_{platform.machine()}.whl'
    installed = f'lib/python*/site-packages/mmcv-{version}.dist-info'
    if any(VENV.glob(installed)) or any(any(w.glob(wheel)) for w in wheels):
        return
    header = Path(sysconfig.get_path('include'), 'Python.h')
    if not (shutil.which('g++') and header.is_file()):
        sys.exit(
            'mmcv is compiled here and needs a C++ compiler and the headers '
            'of Python. On Debian: apt install g++ python3-dev'
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


def install(wheels: list[Path], has_3d: bool) -> None:
    """Installs the stack, this package last."""
    links = [f'--find-links={folder}' for folder in wheels]
    python = VENV / 'bin' / 'python'
    files = ['requirements-dev.txt', *[NEEDS_3D] * has_3d]
    modules = ['mmcv.ops', 'mmdet', 'chex_mm', *['mmdet3d', 'spconv'] * has_3d]
    execute('Python environment .venv', sys.executable, '-m', 'venv', VENV)
    pip('torch and build tools (2 minutes)', *BUILD, '-c', NEEDS)
    pip(
        'mmcv (10 minutes where it has to be compiled)',
        *('-v', *HERE, 'mmcv', '-c', NEEDS, *links),
        **build_environment(),
    )
    pip(
        'mmdet and the rest (2 minutes)',
        *(word for name in files for word in ('-r', name)),
        *links,
    )
    if subprocess.run([python, '-c', 'import cv2'], check=False).returncode:
        # Without an X server's libraries only the headless build loads; it
        # takes the place of the other, which mmengine asks for by name.
        pinned = re.search(r'(?m)^opencv.*', (ROOT / NEEDS_3D).read_text())[0]
        pip('OpenCV', '--force-reinstall', '--no-deps', pinned)
    pip('chex_mm itself', *HERE, '-e', '.')
    execute('trying it', python, '-c', f'import {", ".join(modules)}')


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
    check_machine(arguments.wheels)
    VENV.mkdir(exist_ok=True)
    LOG.unlink(missing_ok=True)
    install(arguments.wheels, arguments.mmdet3d)
    Path(VENV, 'installed').touch()
    if arguments.mmdet3d:
        Path(VENV, 'installed-mmdet3d').touch()
    print(f'The environment {VENV.name} is ready.')


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('Stopped. The next run keeps what is installed.')
