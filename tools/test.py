"""Evaluates a checkpoint, dense, masked or slim, with its config.

The command line is OpenMMLab's.
"""

from argparse import Namespace
from pathlib import Path

from mmengine.config import Config

from chex_mm.cli.arguments import add_run_arguments, command_parser
from chex_mm.cli.command_line import (
    CommandError,
    build_runner,
    check_weights,
    find_checkpoint,
    prepare_config,
    run_command,
)
from chex_mm.files import check_file


def parse_arguments() -> Namespace:
    parser = command_parser('Evaluate a checkpoint.')
    add_run_arguments(parser)
    parser.add_argument('checkpoint', help='a file or an address')
    parser.add_argument('--out', help='write the predictions to this .pkl')
    parser.add_argument(
        '--show', action='store_true', help='show the predictions in a window'
    )
    parser.add_argument(
        '--show-dir',
        help='draw the predictions into this folder of the run',
    )
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds per shown image'
    )
    return parser.parse_args()


def draw_predictions(config: Config, arguments: Namespace) -> None:
    """Makes the config's visualization hook draw."""
    hook = config.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise CommandError(
            '--show and --show-dir need the hook that draws; add '
            "default_hooks=dict(visualization=dict(type='DetVisualizationHook"
            "')) to the config."
        )
    hook.update(
        draw=True,
        show=arguments.show,
        wait_time=arguments.wait_time,
        test_out_dir=arguments.show_dir,
    )


def keep_predictions(config: Config, path: str) -> None:
    """Adds the metric that writes every prediction to `path`."""
    if not path.endswith(('.pkl', '.pickle')):
        raise CommandError(f'--out {path}: the name must end in .pkl.')
    check_file(Path(path), overwrite=True)
    # mmdet's own class packs masks run-length encoded.
    mmdet = config.get('default_scope') == 'mmdet'
    dump = dict(
        type='DumpDetResults' if mmdet else 'DumpResults', out_file_path=path
    )
    metrics = config.test_evaluator
    metrics = metrics if isinstance(metrics, (list, tuple)) else [metrics]
    config.test_evaluator = [*metrics, dump]


def main() -> None:
    arguments = parse_arguments()
    config = prepare_config(arguments)
    config.load_from = find_checkpoint(arguments.checkpoint)
    config.resume = False
    if arguments.show or arguments.show_dir:
        draw_predictions(config, arguments)
    if arguments.out:
        keep_predictions(config, arguments.out)
    runner = build_runner(config)
    check_weights(runner.model, arguments.checkpoint)
    runner.test()


if __name__ == '__main__':
    run_command(main)
