"""Trains the model of a config, with channel exploration if it has the hook.

The command line is OpenMMLab's.
"""

from argparse import Namespace

from mmengine.config import Config

from chex_mm.cli.arguments import add_run_arguments, command_parser
from chex_mm.cli.command_line import (
    CommandError,
    build_runner,
    find_checkpoint,
    prepare_config,
    run_command,
)
from chex_mm.engine.checkpoint_file import check_start
from chex_mm.engine.hooks.going_on import resume_latest
from chex_mm.engine.hooks.training_run import check_config


def parse_arguments() -> Namespace:
    parser = command_parser('Train a model.')
    add_run_arguments(parser)
    parser.add_argument(
        '--amp', action='store_true', help='train in mixed precision'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate to the real batch size',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from a checkpoint; without one, from the latest in the '
        'work directory',
    )
    return parser.parse_args()


def set_learning_rate_scale(config: Config) -> None:
    """Turns on the scaling that the config describes."""
    scale = config.get('auto_scale_lr')
    if not scale or 'base_batch_size' not in scale:
        raise CommandError(
            '--auto-scale-lr needs to know the batch size that the learning '
            'rate was chosen for; add auto_scale_lr=dict(base_batch_size=16) '
            'to the config.'
        )
    scale.enable = True


def main() -> None:
    arguments = parse_arguments()
    config = prepare_config(arguments)
    if arguments.amp:
        config.optim_wrapper.type = 'AmpOptimWrapper'
        config.optim_wrapper.loss_scale = 'dynamic'
    if arguments.auto_scale_lr:
        set_learning_rate_scale(config)
    if arguments.resume not in (None, 'auto'):
        config.resume = True
        config.load_from = arguments.resume
    if config.get('load_from'):
        find_checkpoint(config.load_from)
        check_start(config.load_from, config.get('resume', False))
    check_config(config)
    runner = build_runner(config)
    if arguments.resume == 'auto':
        resume_latest(runner)
    runner.train()


if __name__ == '__main__':
    run_command(main)
