"""Cuts the model of a training checkpoint physically narrow.

Writes a directory that evaluates with chex_mm (`tools/test.py
DIR/slim_config.py DIR/slim.pth`) and without it (`standalone_config.py`).
"""

from argparse import Namespace
from pathlib import Path

from chex_mm.cli.arguments import add_overrides, command_parser
from chex_mm.cli.command_line import (
    CommandError,
    find_checkpoint,
    load_config,
    run_command,
    use_scope,
)
from chex_mm.cli.progress import stage, stages
from chex_mm.deploy.slim_directory import check_target, write_directory
from chex_mm.deploy.slimming import IMAGES, slim_checkpoint


def parse_arguments() -> Namespace:
    parser = command_parser('Make a trained model narrow.')
    parser.add_argument('config', help='the config of the training run')
    parser.add_argument('checkpoint', help='a file or an address')
    parser.add_argument(
        '--out', required=True, type=Path, help='directory to write'
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace a directory that this tool wrote',
    )
    parser.add_argument(
        '--images',
        type=int,
        default=IMAGES,
        help='test images that masked and narrow model are compared on '
        '(default: %(default)s)',
    )
    add_overrides(parser, 'also in what is written')
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.images < 1:
        raise CommandError('--images must be 1 or more.')
    config = load_config(arguments.config, arguments.cfg_options)
    use_scope(config)
    check_target(arguments.out, arguments.overwrite)
    checkpoint = find_checkpoint(arguments.checkpoint)
    with stages(4):
        slimmed = slim_checkpoint(config, checkpoint, arguments.images)
        stage(f'write {arguments.out}')
        report = write_directory(
            arguments.out, config, slimmed, arguments.overwrite
        )
    print(summary(arguments.out, report))


def summary(folder: Path, report: dict) -> str:
    lines = [
        f'{name}: {sizes["dense"] / unit:.3g} -> {sizes["slim"] / unit:.3g} '
        f'{what} ({sizes["slim"] / sizes["dense"]:.1%})'
        for name, unit, what in (
            ('flops', 1e9, 'GFLOPs'),
            ('params', 1e6, 'M'),
            ('file_bytes', 1e6, 'MB'),
        )
        for sizes in (report[name],)
    ]
    return '\n'.join(
        [
            *lines,
            f'Largest difference of the outputs: {report["max_abs_diff"]:.1e}',
            f'python tools/test.py {folder}/slim_config.py {folder}/slim.pth',
        ]
    )


if __name__ == '__main__':
    run_command(main)
