"""Puts every architecture of an installed package to the test.

What was found is kept after each of them, so that a second call goes on where
the first stopped.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import asdict, replace
from datetime import date
from functools import partial
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.progress import track

from chex_mm.cli.arguments import command_parser
from chex_mm.cli.command_line import (
    CommandError,
    how_to_install,
    run_command,
)
from chex_mm.registry import is_installed

from . import sources
from .table import table_text
from .verdict import Verdict, judge
from .walk import walk


def parse_arguments() -> Namespace:
    parser = command_parser(__doc__.partition('\n')[0])
    parser.add_argument('package', choices=sources.PACKAGES)
    add_choice(parser)
    parser.add_argument(
        '--out',
        type=Path,
        help='results, one JSON object per line (default: '
        'work_dirs/zoo/PACKAGE.jsonl)',
    )
    parser.add_argument(
        '--table', type=Path, help='a Markdown file on all that is known'
    )
    parser.add_argument(
        '--as-found',
        action='store_true',
        help='judge nothing more',
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs='+',
        default=[96, 128, 224, 256, 320, 384],
        help='height and width of images: the first of these at which an '
        'architecture runs (default: 96 128 224 256 320 384)',
    )
    parser.add_argument(
        '--limit', type=float, default=600, help='seconds per architecture'
    )
    parser.add_argument(
        '--jobs', type=int, default=1, help='architectures at a time'
    )
    return parser.parse_args()


def add_choice(parser: ArgumentParser) -> None:
    """Adds which architectures are judged."""
    parser.add_argument(
        '--only',
        nargs='+',
        metavar='TEXT',
        default=(),
        help='names that contain one of these',
    )
    parser.add_argument(
        '--one-per-folder',
        action='store_true',
        help='the first architecture of each folder of configs',
    )
    parser.add_argument(
        '--again',
        nargs='+',
        metavar='STATUS',
        default=(),
        help='judge once more what has one of these, such as fails',
    )


def selected(arguments: Namespace) -> list[str]:
    package = arguments.package
    if not is_installed(package):
        raise CommandError(
            f'{package} is not installed. {how_to_install(package)}'
        )
    found = sources.names(package, arguments.only, arguments.one_per_folder)
    if not found:
        raise CommandError(
            f'no config of {package} contains {" or ".join(arguments.only)}.'
        )
    return found


def read_known(path: Path) -> dict[str, Verdict]:
    """The last verdict on each architecture."""
    if not path.is_file():
        return {}
    lines = path.read_text().splitlines()
    found = [Verdict(**json.loads(line)) for line in lines]
    return {verdict.name: verdict for verdict in found}


def judge_one(package: str, sides: list[int], name: str) -> Verdict:
    return judge(name, partial(sources.make, package, name, sides))


def judge_all(names: list[str], path: Path, arguments: Namespace) -> None:
    """Judges what `path` does not know yet and adds it there."""
    is_seen = sys.stdout.isatty()
    console = Console(width=None if is_seen else 160)
    known = read_known(path)
    todo = [
        name
        for name in names
        if name not in known or known[name].status in arguments.again
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    sources.prepare(arguments.package)
    one = partial(judge_one, arguments.package, arguments.size)
    verdicts = walk(todo, one, arguments.limit, arguments.jobs)
    with path.open('a') as file:
        shown = track(
            verdicts,
            f'zoo of {arguments.package}',
            len(todo),
            console=console,
            transient=True,
            disable=not is_seen,
        )
        for number, verdict in enumerate(shown, 1):
            verdict = replace(verdict, date=date.today().isoformat())
            file.write(json.dumps(asdict(verdict)) + '\n')
            file.flush()
            console.print(
                f'{number}/{len(todo)} {verdict.status:12} {verdict.name} '
                f'{verdict.seconds:.0f} s {verdict.reason[:90]}',
                markup=False,
                highlight=False,
            )


def main() -> None:
    arguments = parse_arguments()
    default = Path('work_dirs', 'zoo', f'{arguments.package}.jsonl')
    path = arguments.out or default
    names = selected(arguments)
    if not arguments.as_found:
        judge_all(names, path, arguments)
    known = read_known(path)
    found = [known[name] for name in names if name in known]
    exact = sum(verdict.status == 'exact' for verdict in found)
    print(f'{exact} of {len(found)} architectures are exact; see {path}.')
    if arguments.table:
        package = arguments.package
        needed = dict.fromkeys(('torch', 'mmcv', package))
        versions = [
            f'{each} {import_module(each).__version__}' for each in needed
        ]
        every = sorted({*names, *known})
        found = [known[each] for each in every if each in known]
        arguments.table.write_text(table_text(found, versions, len(every)))


if __name__ == '__main__':
    run_command(main)
