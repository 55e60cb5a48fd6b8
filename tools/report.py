"""Shows what a run with CHEXHook did, on one page with pictures.

Writes WORK_DIR/report: report.html, which needs no other file, and its PNGs.
"""

import sys
from argparse import Namespace
from contextlib import redirect_stdout
from pathlib import Path

from chex_mm.cli.arguments import command_parser
from chex_mm.cli.command_line import (
    CommandError,
    find_checkpoint,
    quiet,
    run_command,
)
from chex_mm.cli.progress import stages
from chex_mm.deploy.slim_directory import WEIGHTS
from chex_mm.report import Request, write_report


def parse_arguments() -> Namespace:
    parser = command_parser(__doc__.partition('\n')[0])
    parser.add_argument(
        'work_dir', type=Path, help='where the run wrote its logs'
    )
    parser.add_argument(
        '--slim',
        type=Path,
        help='what tools/slim.py wrote (default: WORK_DIR/slim)',
    )
    parser.add_argument(
        '--dense',
        type=Path,
        metavar='CHECKPOINT',
        help='of the same model trained without CHEXHook, to compare the '
        'slim model with',
    )
    parser.add_argument(
        '--samples',
        type=int,
        default=Request.samples,
        help='test samples to draw; 0 runs no model (default: %(default)s)',
    )
    parser.add_argument(
        '--out', type=Path, help='folder to write (default: WORK_DIR/report)'
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.samples < 0:
        raise CommandError('--samples must be 0 or more.')
    if arguments.slim and not arguments.slim.is_dir():
        raise CommandError(f'there is no directory {arguments.slim}.')
    if arguments.slim and not (arguments.slim / WEIGHTS).is_file():
        raise CommandError(
            f'{arguments.slim} holds no {WEIGHTS}; name a directory that '
            'tools/slim.py wrote.'
        )
    if arguments.dense:
        find_checkpoint(str(arguments.dense))
    request = Request(arguments.slim, arguments.dense, arguments.samples)
    quiet()
    # Loggers and libraries print.
    with redirect_stdout(sys.stderr), stages(4):
        path = write_report(arguments.work_dir, request, arguments.out)
    print(path)


if __name__ == '__main__':
    run_command(main)
