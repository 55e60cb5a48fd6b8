"""Puts every architecture of an installed package to the test.

Each runs in a process of its own with a time limit. What was found is kept
after each of them, so that a second call goes on where the first stopped.
"""

import json
import subprocess
import sys
import time
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import redirect_stdout
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from chex_mm.engine.command_line import (
    CommandError,
    command_parser,
    how_to_install,
    load_config,
    run_command,
    use_scope,
)
from chex_mm.engine.zoo import Verdict, architectures, judge
from chex_mm.engine.zoo_table import table_text

PACKAGES = ('mmdet', 'mmdet3d')


def parse_arguments() -> Namespace:
    parser = command_parser(__doc__.partition('\n')[0])
    parser.add_argument('package', choices=PACKAGES)
    parser.add_argument(
        '--only',
        nargs='+',
        metavar='TEXT',
        help='configs whose path contains one of these',
    )
    parser.add_argument(
        '--one-per-folder',
        action='store_true',
        help='the first architecture of each folder of configs',
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='results, one JSON object per line (default: '
        'work_dirs/zoo/PACKAGE.jsonl)',
    )
    parser.add_argument('--table', type=Path, help='a Markdown file to write')
    parser.add_argument(
        '--size', type=int, default=256, help='height and width of images'
    )
    parser.add_argument(
        '--limit', type=int, default=600, help='seconds per architecture'
    )
    parser.add_argument(
        '--jobs', type=int, default=1, help='architectures at a time'
    )
    parser.add_argument('--judge', metavar='CONFIG', help='only this config')
    return parser.parse_args()


def judge_here(arguments: Namespace) -> None:
    """Prints the verdict on one config; what libraries print is not it."""
    with redirect_stdout(sys.stderr):
        config = load_config(f'{arguments.package}::{arguments.judge}')
        use_scope(config)
        size = arguments.size, arguments.size
        verdict = judge(arguments.judge, config, size)
    print(json.dumps(asdict(verdict)))


def judge_apart(name: str, arguments: Namespace) -> Verdict:
    """The verdict of another process, or why it gave none."""
    command = [sys.executable, __file__, arguments.package]
    command += ['--judge', name, '--size', str(arguments.size)]
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors='replace',
            timeout=arguments.limit,
            check=False,
        )
        return Verdict(**json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        reason = f'took more than {arguments.limit} seconds'
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or ['no output']
        reason = f'exit status {done.returncode}: {last[0][:200]}'
    seconds = round(time.perf_counter() - begin, 1)
    return Verdict(name, 'fails', reason, seconds=seconds)


def selected(arguments: Namespace) -> list[str]:
    spec = find_spec(arguments.package)
    if spec is None:
        raise CommandError(
            f'{arguments.package} is not installed. '
            f'{how_to_install(arguments.package)}'
        )
    root = Path(spec.origin).parent / '.mim' / 'configs'
    names = list(
        architectures(root, arguments.only or (), arguments.one_per_folder)
    )
    if not names:
        raise CommandError(f'no config contains {arguments.only}.')
    return names


def read_known(path: Path) -> dict[str, Verdict]:
    if not path.is_file():
        return {}
    lines = path.read_text().splitlines()
    found = [Verdict(**json.loads(line)) for line in lines]
    return {verdict.name: verdict for verdict in found}


def walk(names: list[str], path: Path, arguments: Namespace) -> None:
    """Judges what `path` does not know yet and adds it there."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    path.parent.mkdir(parents=True, exist_ok=True)
    todo = [name for name in names if name not in read_known(path)]
    with ThreadPoolExecutor(arguments.jobs) as pool, path.open('a') as file:
        running = [pool.submit(judge_apart, name, arguments) for name in todo]
        for number, future in enumerate(as_completed(running), 1):
            verdict = future.result()
            file.write(json.dumps(asdict(verdict)) + '\n')
            file.flush()
            console.print(
                f'{number}/{len(todo)} {verdict.status:9} {verdict.name} '
                f'{verdict.seconds:.0f} s {verdict.reason[:90]}',
                markup=False,
                highlight=False,
            )


def main() -> None:
    arguments = parse_arguments()
    if arguments.judge:
        judge_here(arguments)
        return
    default = Path('work_dirs', 'zoo', f'{arguments.package}.jsonl')
    path = arguments.out or default
    names = selected(arguments)
    walk(names, path, arguments)
    known = read_known(path)
    found = [known[name] for name in names]
    exact = sum(verdict.status == 'exact' for verdict in found)
    print(f'{exact} of {len(found)} architectures are exact; see {path}.')
    if arguments.table:
        versions = [
            f'{name} {version(name)}'
            for name in ('torch', 'mmcv', arguments.package)
        ]
        arguments.table.write_text(table_text(found, versions))


if __name__ == '__main__':
    run_command(main)
