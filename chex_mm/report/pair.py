"""The dense model of a run beside its slim one, on the run's test samples."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import CheckpointLoader, Runner
from torch import nn

from ..cli.command_line import load_config, use_scope
from ..deploy.latency import latency
from ..deploy.slim_directory import CONFIG, WEIGHTS
from ..deploy.slimming import build_model
from ..engine.explored_checkpoint import load_weights
from ..errors import ChexError
from .record import RunRecord

BATCHES = (1, 8)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two models that read the same samples.

    Attributes:
        dense: Of dense shape.
        slim: Physically narrow.
        name: What the weights of `dense` are.
        samples: Some of the test samples, from the stock pipeline.
        metainfo: Of their data set.
        config: Of the run.
    """

    dense: nn.Module
    slim: nn.Module
    name: str
    samples: list[dict]
    metainfo: dict
    config: Config


def load_pair(
    record: RunRecord, slim: Path, dense: Path | None, count: int
) -> Pair:
    """Both models of a run and `count` of its test samples.

    Args:
        record: Of the run.
        slim: Directory that tools/slim.py wrote.
        dense: A checkpoint of a run without exploration; without one, the
            last of the run itself, with zeros where channels are inactive.
        count: Samples to read.

    Raises:
        ChexError: Something of it is absent or does not fit.
    """
    config = Config.fromstring(record.config, '.py')
    if 'model' not in config:
        raise ChexError(
            f'{record.directory} holds no config (TIME/vis_data/config.py) '
            'to build the models from; pass --samples 0.'
        )
    use_scope(config)
    path = str(dense or record.checkpoint)
    model = build_model(config)
    loaded = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    load_weights(model, loaded.get('state_dict', loaded), path)
    narrow = build_model(load_config(str(slim / CONFIG)))
    weights = torch.load(slim / WEIGHTS, map_location='cpu', weights_only=True)
    narrow.load_state_dict(weights['state_dict'])
    dataset = _test_data(config)
    count = min(count, len(dataset))
    return Pair(
        dense=model,
        slim=narrow,
        name='dense run' if dense else 'training checkpoint (dense shape)',
        samples=[dataset[index] for index in range(count)],
        metainfo=dataset.metainfo,
        config=config,
    )


def _test_data(config: Config):
    if not config.get('test_dataloader'):
        raise ChexError('The config of the run has no test_dataloader.')
    try:
        cfg = copy.deepcopy(config.test_dataloader)
        return Runner.build_dataloader(cfg, seed=0).dataset
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ChexError(
            f'The data of test_dataloader cannot be read: {error}. Run the '
            'command from the directory that the run was started in, or '
            'pass --samples 0.'
        ) from error


def step_times(pair: Pair, repeats: int = 10) -> dict[int, dict[str, float]]:
    """Median milliseconds of a test step of both models, by batch size."""
    found = {}
    for size in BATCHES:
        batch = pseudo_collate([pair.samples[0]] * size)
        found[size] = latency(
            {'dense': pair.dense, 'slim': pair.slim},
            lambda model, batch=batch: model.test_step(copy.deepcopy(batch)),
            repeats=repeats,
        )
    return found


def predictions(model: nn.Module, sample: dict):
    """What a model finds in one sample."""
    return model.test_step(pseudo_collate([copy.deepcopy(sample)]))[0]
