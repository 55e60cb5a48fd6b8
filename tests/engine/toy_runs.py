"""A toy network in real Runners: milliseconds per iteration.

Data and model draw from every random generator, so that a state that is not
restored shows.
"""

import os
import random
from uuid import uuid4

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import Dataset

import chex_mm.engine  # noqa: F401
from chex_mm.engine.hooks.chex_hook import CHEXHook

WIDTH = 16


NORMS = {
    'batch': nn.BatchNorm2d,
    'synchronised': nn.SyncBatchNorm,
    # of every sample by itself, so that a batch may be split
    'sample': lambda width: nn.GroupNorm(width, width),
}


def conv(inside, outside, norm='batch'):
    layer = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
    if norm == 'weight':
        return nn.Sequential(weight_norm(layer))
    return nn.Sequential(layer, NORMS[norm](outside))


@MODELS.register_module()
class ToyBackbone(nn.Module):
    """A stem and a residual block, with the switches of a ResNet."""

    def __init__(
        self,
        norm_eval=False,
        frozen_stages=-1,
        zero_init_residual=False,
        activation='relu',
        norm='batch',
    ):
        super().__init__()
        self.activation = getattr(torch, activation)
        self.norm_eval = norm_eval
        self.frozen_stages = frozen_stages
        self.zero_init_residual = zero_init_residual
        self.stem = conv(3, WIDTH, norm)
        self.inner = conv(WIDTH, WIDTH, norm)
        self.outer = conv(WIDTH, WIDTH, norm)
        if zero_init_residual:
            nn.init.zeros_(self.outer[1].weight)
        if frozen_stages >= 0:
            self.stem.requires_grad_(False)

    def forward(self, x):
        x = self.stem(x).relu()
        return (x + self.outer(self.activation(self.inner(x)))).relu()

    def train(self, mode=True):
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


@MODELS.register_module()
class ToyNet(BaseModel):
    def __init__(
        self,
        backbone=None,
        modes=('tensor', 'loss', 'predict'),
        dropout=0.1,
        norm='batch',
    ):
        super().__init__()
        self.dropout = dropout
        self.backbone = MODELS.build(
            backbone or dict(type='ToyBackbone', norm=norm)
        )
        self.neck = conv(WIDTH, WIDTH, norm)
        self.head = nn.Linear(WIDTH, 3)
        self.modes = modes

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode not in self.modes:
            raise NotImplementedError
        x = torch.stack(inputs) if isinstance(inputs, list) else inputs
        x = self.neck(self.backbone(x)).relu().mean((2, 3))
        x = self.head(nn.functional.dropout(x, self.dropout, self.training))
        if mode == 'loss':
            labels = torch.stack(list(data_samples))
            return dict(loss=nn.functional.cross_entropy(x, labels))
        return list(x) if mode == 'predict' else x


@DATASETS.register_module()
class ToyImages(Dataset):
    """Noise whose mean colour tells the class, augmented at random."""

    metainfo = dict(classes=('red', 'green', 'blue'))

    def __init__(self, size=24, noise=0.1):
        self.noise = noise
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.arange(size) % 3
        self.images = torch.randn(size, 3, 8, 8, generator=generator)
        self.images[torch.arange(size), self.labels] += 1
        self.reads = []

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        self.reads.append(index)
        shift = random.random() + np.random.rand() + torch.rand(())
        return dict(
            inputs=self.images[index] + self.noise * shift,
            data_samples=self.labels[index],
        )


@METRICS.register_module()
class ToyAccuracy(BaseMetric):
    def process(self, data_batch, data_samples):
        for scores, label in zip(data_samples, data_batch['data_samples']):
            self.results.append(int(scores.argmax()) == int(label))

    def compute_metrics(self, results):
        return dict(accuracy=sum(results) / len(results))


def loader(sampler, shuffle=True):
    return dict(
        dataset=dict(type='ToyImages'),
        sampler=dict(type=sampler, shuffle=shuffle),
        batch_size=4,
        num_workers=0,
    )


def toy_config(work_dir, by_epoch=False, hooks=(), **changes):
    """4 epochs of 6 iterations, or 24 iterations, a checkpoint after each."""
    cfg = dict(
        model=dict(type='ToyNet'),
        work_dir=str(work_dir),
        train_dataloader=loader(
            'DefaultSampler' if by_epoch else 'InfiniteSampler'
        ),
        train_cfg=dict(by_epoch=True, max_epochs=4, val_interval=2)
        if by_epoch
        else dict(by_epoch=False, max_iters=24, val_interval=10),
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(
                type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-3
            ),
            paramwise_cfg=dict(norm_decay_mult=0),
        ),
        val_dataloader=loader('DefaultSampler', shuffle=False),
        val_cfg=dict(),
        val_evaluator=[dict(type='ToyAccuracy')],
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', interval=1, by_epoch=by_epoch
            ),
        ),
        custom_hooks=[chex(), *hooks],
        log_processor=dict(by_epoch=by_epoch),
        randomness=dict(seed=3),
        experiment_name=uuid4().hex,
        default_scope='mmengine',
    )
    cfg.update(changes)
    return cfg


def chex(**settings):
    """The hook's config, with room to explore in a network this narrow."""
    return dict(
        dict(
            type='CHEXHook',
            budget=dict(type='flops', keep=0.5),
            divisor=1,
            report=False,  # takes longer than the run
        ),
        **settings,
    )


def build(work_dir, **changes):
    torch.manual_seed(random.SystemRandom().randrange(1 << 30))
    return Runner(**toy_config(work_dir, **changes))


def become_rank(rank, ranks, port):
    """What a launcher tells one process of a group on this machine."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(ranks),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)


def hook_of(runner) -> CHEXHook:
    return next(h for h in runner.hooks if isinstance(h, CHEXHook))


def everything(runner):
    """All that must be the same after resuming, as flat tensors."""
    hook = hook_of(runner)
    state = {
        'model': runner.model.state_dict(),
        'explorer': hook.explorer.state_dict(),
        'optimizer': runner.optim_wrapper.state_dict(),
        'copies': [copy.state_dict() for copy in hook.session.live.copies],
        'random': [torch.get_rng_state(), random.getstate()],
        'numpy': list(np.random.get_state()),
    }
    return dict(flatten('', state))


def flatten(path, value):
    if isinstance(value, dict):
        value = list(value.items())
    elif isinstance(value, (list, tuple)):
        value = list(enumerate(value))
    else:
        yield path, value
        return
    for key, part in value:
        yield from flatten(f'{path}/{key}', part)


def differences(one, other):
    """Paths at which two flattened states differ, bit for bit."""
    return [
        path
        for path in {**one, **other}
        if not _is_equal(one.get(path), other.get(path))
    ]


def _is_equal(one, other):
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return np.array_equal(one, other)
