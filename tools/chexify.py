"""Turns a config of mmdet or mmdet3d into a CHEX run from scratch.

Writes a short config that inherits from it and trains as it is. Needs no
data set.
"""

import sys
from argparse import Namespace
from contextlib import redirect_stdout
from pathlib import Path

from chex_mm.adopt.chexify import Adoption, Chexified, chexify
from chex_mm.cli.arguments import (
    add_config,
    add_cut,
    command_parser,
    image_shape,
)
from chex_mm.cli.command_line import (
    CommandError,
    load_config,
    quiet,
    run_command,
    use_scope,
)
from chex_mm.cli.progress import stages
from chex_mm.files import check_file


def parse_arguments() -> Namespace:
    parser = command_parser(__doc__.partition('\n')[0])
    add_config(parser)
    parser.add_argument(
        '--out', required=True, type=Path, help='the config to write'
    )
    add_cut(parser, Adoption)
    parser.add_argument(
        '--scope',
        nargs='+',
        default=(),
        metavar='PATTERN',
        help='explore these parts only, e.g. backbone neck; a backbone alone '
        'is wrapped in MaskedBackbone',
    )
    parser.add_argument(
        '--of-scope',
        action='store_true',
        help='the budget is a share of the FLOPs of the scope',
    )
    parser.add_argument(
        '--pretrained',
        action='store_true',
        help='start from the weights that the config names',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace the file'
    )
    return parser.parse_args()


def run(arguments: Namespace) -> Chexified:
    shape = image_shape(arguments.shape)
    if arguments.of_scope and not arguments.scope:
        raise CommandError('--of-scope needs --scope.')
    adoption = Adoption(
        keep=arguments.keep,
        scope=tuple(arguments.scope),
        of_scope=arguments.of_scope,
        pretrained=arguments.pretrained,
        divisor=arguments.divisor,
        shape=shape,
    )
    check_file(arguments.out, arguments.overwrite)
    if arguments.out.suffix != '.py':
        raise CommandError(f'--out {arguments.out}: the name must end in .py.')
    config = load_config(arguments.config)
    quiet()
    use_scope(config)
    with stages(3):
        return chexify(
            *(arguments.config, config, arguments.out, adoption),
            overwrite=arguments.overwrite,
        )


def main() -> None:
    arguments = parse_arguments()
    with redirect_stdout(sys.stderr):  # loggers and libraries print
        done = run(arguments)
    print(done.summary)
    for warning in done.warnings:
        print(f'warning: {warning}')
    print(f'python tools/train.py {arguments.out}')


if __name__ == '__main__':
    run_command(main)
