"""Exports a slim detector to ONNX or TorchScript.

Backbone, neck and dense head become one file with a free batch size, each
head on regions another. Decoding and NMS are not in them.
"""

import sys
from argparse import Namespace
from contextlib import redirect_stdout
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chex_mm.cli.arguments import add_shape, command_parser, image_shape
from chex_mm.cli.command_line import (
    CommandError,
    find_checkpoint,
    load_config,
    quiet,
    run_command,
    use_scope,
)
from chex_mm.cli.progress import stages
from chex_mm.deploy.export import FORMATS
from chex_mm.deploy.export_report import Options, export_detector


def parse_arguments() -> Namespace:
    parser = command_parser(__doc__.partition('\n')[0])
    parser.add_argument('config', help='slim_config.py of tools/slim.py')
    parser.add_argument('checkpoint', help='slim.pth')
    parser.add_argument('--format', choices=[*FORMATS], default=Options.form)
    parser.add_argument(
        '--out',
        type=Path,
        help='the file of the dense part (default: beside the checkpoint)',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace the files'
    )
    _add_numbers(parser)
    return parser.parse_args()


def _add_numbers(parser) -> None:
    """Of the image, of ONNX and of what is timed."""
    add_shape(parser, Options.shape)
    parser.add_argument(
        '--opset',
        type=int,
        default=Options.opset,
        choices=range(11, 21),  # what torch's exporter writes
        metavar='OPSET',
        help='version of the ONNX operators, 11 to 20 (default: %(default)s)',
    )
    parser.add_argument(
        '--repeats',
        type=int,
        default=Options.repeats,
        help='timed passes of each model; 0 for none (default: %(default)s)',
    )


def run(arguments: Namespace) -> tuple[Path, dict]:
    shape = image_shape(arguments.shape)
    if arguments.repeats < 0:
        raise CommandError('--repeats must be 0 or more.')
    checkpoint = find_checkpoint(arguments.checkpoint)
    ending = FORMATS[arguments.format][-1]
    out = arguments.out or Path(checkpoint).with_suffix(ending)
    config = load_config(arguments.config)
    quiet()
    use_scope(config)
    options = Options(
        form=arguments.format,
        shape=shape,
        opset=arguments.opset,
        repeats=arguments.repeats,
    )
    with stages(2 + len(options.batches) * bool(options.repeats)):
        report = export_detector(
            config, checkpoint, out, options, arguments.overwrite
        )
    return out, report


def show(out: Path, report: dict) -> None:
    opset = f', opset {report["opset"]}' if report['opset'] else ''
    print(f'{report["format"]}{opset}; written to {out.parent}:')
    for name, file in report['files'].items():
        shape = ' x '.join(map(str, file['input']))
        print(
            f'  {name}: {file["part"]}, input {shape}, '
            f'{len(file["outputs"])} outputs, largest difference '
            f'{file["max_abs_diff"]:.1e} ({file["max_rel_diff"]:.1e} relative)'
        )
    if report['left_out']:
        print(f'Not in them: {", ".join(report["left_out"])}.')
    print(
        'Not in them: decoding of boxes and NMS, which need operators that '
        f'only deployment tools bring. See {out.stem}.json for outputs and '
        'normalisation.'
    )
    if 'latency_ms' in report:
        Console(width=None if sys.stdout.isatty() else 120).print(
            _times(report['latency_ms'])
        )


def _times(found: dict) -> Table:
    rows = Table(box=None, title='milliseconds on this CPU')
    rows.add_column('model')
    for batch in found:
        rows.add_column(f'batch {batch}', justify='right')
    for name in sorted(next(iter(found.values()))):
        rows.add_row(name, *(f'{times[name]:.2f}' for times in found.values()))
    return rows


def main() -> None:
    arguments = parse_arguments()
    with redirect_stdout(sys.stderr):  # loggers and libraries print
        out, report = run(arguments)
    show(out, report)


if __name__ == '__main__':
    run_command(main)
