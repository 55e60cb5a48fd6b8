"""The arguments that several command lines of `tools/` take.

An argument has one name, one form and one explanation wherever it is taken.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

from ..errors import one_line
from .command_errors import CommandError


def command_parser(description: str) -> ArgumentParser:
    """A parser with what every tool takes."""
    parser = ArgumentParser(description=description)
    parser.add_argument(
        '--debug',
        action='store_true',
        help='show the whole traceback of an error',
    )
    return parser


def add_config(parser: ArgumentParser) -> None:
    """Adds which config is meant."""
    parser.add_argument(
        'config', help='a config file, or PACKAGE::PATH of an installed one'
    )


def add_overrides(parser: ArgumentParser, more: str) -> None:
    """Adds entries of the config to override; `more` ends the help."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Overrides,
        metavar='KEY=VALUE',
        help=f'override config entries, {more}',
    )


class Overrides(DictAction):
    """Entries of a config as KEY=VALUE; anything else is refused."""

    def __call__(self, parser, namespace, values, option_string=None):
        for value in values:
            if '=' not in value:
                parser.error(f'{option_string}: {value!r} is not KEY=VALUE')
        try:
            super().__call__(parser, namespace, values, option_string)
        except (AssertionError, ValueError) as error:
            parser.error(f'{option_string}: {one_line(error)}')


def add_cut(parser: ArgumentParser, defaults: Any) -> None:
    """Adds how narrow a model may be, and the image that is tried.

    Args:
        parser: Gets the arguments.
        defaults: Has `keep`, `divisor` and `shape`.
    """
    parser.add_argument(
        '--keep',
        type=float,
        default=defaults.keep,
        help='share of the FLOPs that the narrow model may cost '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--divisor',
        type=int,
        default=defaults.divisor,
        help='widths are multiples of it where possible '
        '(default: %(default)s)',
    )
    add_shape(parser, defaults.shape)


def add_shape(parser: ArgumentParser, default: tuple[int, int]) -> None:
    """Adds the size of an image, which `image_shape` reads."""
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        default=list(default),
        help='height and width of an image, or one number for both '
        f'(default: {default[0]})',
    )


def image_shape(numbers: Sequence[int]) -> tuple[int, int]:
    """Height and width out of what `--shape` was given."""
    if not 1 <= len(numbers) <= 2:
        raise CommandError('--shape takes one number or two.')
    if min(numbers) < 1:
        raise CommandError('--shape takes numbers of pixels, such as 320.')
    return numbers[0], numbers[-1]


def add_run_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments that training and testing share."""
    add_config(parser)
    parser.add_argument(
        '--work-dir', help='where logs go (default: work_dirs/<config name>)'
    )
    add_overrides(parser, 'e.g. train_dataloader.batch_size=4')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed run',
    )
    # torch.distributed.launch passes either spelling.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
