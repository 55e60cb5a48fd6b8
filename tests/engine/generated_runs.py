"""Short runs of small detectors on generated samples: seconds, no data.

A config keeps its model, optimizer and hooks; only what is read, and how
long, is replaced.
"""

from mmengine.registry import DATASETS, DefaultScope
from torch.utils.data import Dataset

from chex_mm.deploy.slimming import build_model
from chex_mm.packages.paths import generated_batch

SAMPLES = {}  # name of a run to its samples


@DATASETS.register_module()
class GeneratedSamples(Dataset):
    """What `short_run` has put into SAMPLES, over and over."""

    metainfo = dict(classes=('one', 'two', 'three', 'four'))

    def __init__(self, name, repeats=4, pipeline=()):
        # `pipeline` only tells what a sample of the real data set holds.
        self.samples = SAMPLES[name] * repeats

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]

    def update_skip_type_keys(self, names):
        """For YOLOX's hook: there is no transform to skip."""


def samples_of(batch):
    """The samples that a data loader had put together."""
    count = len(batch['data_samples'])
    return [_part(batch, index) for index in range(count)]


def _part(batch, index):
    return {
        key: _part(value, index) if isinstance(value, dict) else value[index]
        for key, value in batch.items()
    }


def short_run(config, name, work_dir, batch):
    """The config with eight iterations of two samples, in two epochs."""
    SAMPLES[name] = samples_of(batch)
    loader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
        dataset=dict(type='GeneratedSamples', name=name, repeats=4),
    )
    config.train_dataloader = loader
    config.train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=9)
    config.work_dir = str(work_dir)
    config.experiment_name = name
    config.launcher = 'none'
    # One of each name in a process.
    config.visualizer.name = name
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):
        config.pop(key, None)
    for key in ('test_cfg', 'test_dataloader', 'test_evaluator'):
        config.pop(key, None)
    return config


LONGER = """
_base_ = {base!r}

loader = dict(
    _delete_=True,
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        type='GeneratedSamples', name={name!r}, repeats=5, pipeline={pipeline}
    ),
)
train_dataloader = test_dataloader = loader
val_dataloader = val_cfg = val_evaluator = None
train_cfg = dict(max_epochs=4, val_interval=9)
visualizer = dict(name={name!r})
default_hooks = dict(checkpoint=dict(interval=4))
"""


def longer_run(base, name, path, batch, config):
    """Writes a config that trains `base` for 20 iterations, in 4 epochs."""
    SAMPLES[name] = samples_of(batch)
    steps = _pipeline(config.train_dataloader.dataset)
    text = LONGER.format(base=str(base), name=name, pipeline=steps)
    path.write_text(text)
    return path


def _pipeline(dataset):
    """The innermost pipeline of a data set's config, as code."""
    while 'dataset' in dataset and 'pipeline' not in dataset['dataset']:
        dataset = dataset['dataset']
    dataset = dataset.get('dataset', dataset)
    found = dataset.get('pipeline', [])
    return [
        step.to_dict()
        for step in found
        if step['type'].startswith(('Load', 'Pack', 'PointSample'))
    ]


def generated(config, shape):
    """A batch for the model of a config."""
    with DefaultScope.overwrite_default_scope(config.default_scope):
        return generated_batch(build_model(config), (3, *shape), config)
