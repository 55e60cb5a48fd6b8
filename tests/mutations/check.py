"""Plants every bug in a copy of the package: its test must fail there.

    python tests/mutations/check.py

And all of these tests must pass where nothing is planted.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.mutations.planted import BUGS  # noqa: E402

ROOT = Path(__file__).parents[2]
PASSED, FAILED = 0, 1  # what pytest ends with


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--only', default='', help='bugs whose name contains this'
    )
    return parser.parse_args()


def copy_to(folder):
    for name in ('chex_mm', 'tests', 'configs', 'tools', 'docs'):
        skip = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ('pyproject.toml', 'README.md'):
        shutil.copy(ROOT / name, folder)


def run(folder, tests):
    """Exit status and output of pytest in a copy."""
    environment = {
        **os.environ,
        'PYTHONPATH': str(folder),
        'PYTHONDONTWRITEBYTECODE': '1',
        'OMP_NUM_THREADS': '1',
    }
    command = [sys.executable, '-m', 'pytest', '-q', '-x', '--tb=line']
    command += ['-p', 'no:cacheprovider', '-m', 'not slow']
    done = subprocess.run(
        [*command, *(f'tests/{test}' for test in tests)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return done.returncode, done.stdout


def is_caught(folder, bug):
    """Whether the test of a bug fails while it is in."""
    path = folder / 'chex_mm' / bug.file
    text = path.read_text()
    path.write_text(text.replace(bug.old, bug.new))
    try:
        status, said = run(folder, [bug.test])
    finally:
        path.write_text(text)
    # Another status is no failed test: nothing ran.
    assert status in (PASSED, FAILED), said
    return status == FAILED


def main():
    bugs = [bug for bug in BUGS if parse_arguments().only in bug.name]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_to(folder)
        status, said = run(folder, sorted({bug.test for bug in bugs}))
        if status != PASSED:
            print(f'Without any bug:\n{said}')
            return 1
        missed = 0
        for bug in bugs:
            caught = is_caught(folder, bug)
            missed += not caught
            print('caught' if caught else 'MISSED', bug.name, flush=True)
    print(f'{len(bugs) - missed} of {len(bugs)} planted bugs are caught')
    return int(missed > 0)


if __name__ == '__main__':
    sys.exit(main())
