"""Shows what exploration can do with the model of a config.

Groups, what is pinned and why, the cost before and after. Needs no data set.
"""

import json
import sys
from argparse import Namespace
from contextlib import redirect_stdout

from rich.console import Console
from rich.table import Table

from chex_mm.adopt.analysis import Analysis, Options, analyse, group_cost
from chex_mm.adopt.pinned import pinned_work
from chex_mm.cli.arguments import (
    add_config,
    add_cut,
    add_overrides,
    command_parser,
    image_shape,
)
from chex_mm.cli.command_line import (
    CommandError,
    load_config,
    run_command,
    use_scope,
)
from chex_mm.cli.progress import stages

LEAST_SHARE = 0.001  # of the model's FLOPs, to be listed


def parse_arguments() -> Namespace:
    parser = command_parser('Analyse the channels of a model.')
    add_config(parser)
    add_cut(parser, Options)
    parser.add_argument(
        '--verify',
        action='store_true',
        help='cut the model at random and compare its outputs',
    )
    parser.add_argument(
        '--strict',
        action='store_true',
        help='fail when channels enter an operator without a rule',
    )
    parser.add_argument(
        '--json', action='store_true', help='one JSON object and nothing else'
    )
    add_overrides(parser, 'e.g. model.backbone.depth=101')
    return parser.parse_args()


def run(arguments: Namespace) -> Analysis:
    shape = image_shape(arguments.shape)
    config = load_config(arguments.config, arguments.cfg_options)
    use_scope(config)
    try:
        options = Options(
            keep=arguments.keep,
            verify=arguments.verify,
            strict=arguments.strict,
            shape=shape,
            divisor=arguments.divisor,
        )
        with stages(2 + options.verify):
            return analyse(arguments.config, config, options)
    except ValueError as error:
        raise CommandError(str(error)) from error


def show(analysis: Analysis) -> None:
    """Prints tables; plain text where the output is no terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    found = analysis.as_json()
    for table in (_groups(analysis), _pinned(analysis), _work(analysis)):
        if not console.is_terminal:
            table.box = None
        console.print(table)
    for name, unit in (('flops', 1e9), ('params', 1e6)):
        dense, slim = (found[name][k] / unit for k in ('dense', 'slim'))
        console.print(
            f'{name}: {dense:.4g} {"G" if unit == 1e9 else "M"} dense, '
            f'{slim:.4g} uniformly narrow ({slim / dense:.1%})'
        )
    if analysis.graph.unknown_ops:
        console.print(analysis.graph.unknown_text(), markup=False)
    if analysis.graph.unreached:
        console.print(analysis.graph.unreached_text(), markup=False)
    if analysis.difference:
        console.print(f'masked and narrow: {analysis.difference}')
    console.print(f'{analysis.seconds:.1f} seconds')


def _groups(analysis: Analysis) -> Table:
    graph = analysis.graph
    table = Table(title=f'{len(graph.free)} channel groups may be cut')
    for column in ('group', 'channels', 'narrow', 'modules', 'GFLOPs'):
        table.add_column(
            column, justify='left' if column == 'group' else 'right'
        )
    for name, group in graph.free.items():
        table.add_row(
            name,
            str(group.size),
            str(analysis.counts[name]),
            str(len(set(group.modules))),
            f'{group_cost(graph, group) / 1e9:.3f}',
        )
    return table


def _pinned(analysis: Analysis) -> Table:
    table = Table(title='Pinned, the most expensive first')
    table.add_column('reason')
    table.add_column('channels', justify='right')
    for reason, channels in analysis.pinned.items():
        table.add_row(reason, str(channels))
    return table


def _work(analysis: Analysis) -> Table:
    """What is worth a look: modules with at least a thousandth of all."""
    total = analysis.graph.flops()
    found = pinned_work(analysis.graph)
    share = sum(work.flops for work in found) / max(total, 1)
    table = Table(title=f'Pinned compute: {share:.1%} of the FLOPs')
    table.add_column('module', min_width=30)  # room for the title
    table.add_column('GFLOPs', justify='right')
    table.add_column('of all', justify='right')
    table.add_column('by')
    for work in found:
        if work.flops >= LEAST_SHARE * total:
            table.add_row(
                work.module or '(model)',
                f'{work.flops / 1e9:.3f}',
                f'{work.flops / total:.1%}',
                '; '.join(work.reasons),
            )
    return table


def main() -> None:
    arguments = parse_arguments()
    with redirect_stdout(sys.stderr):  # loggers and libraries print
        analysis = run(arguments)
    if arguments.json:
        print(json.dumps(analysis.as_json()))
    else:
        show(analysis)


if __name__ == '__main__':
    run_command(main)
