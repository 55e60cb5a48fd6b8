"""Real batches and run paths, which leave no trace of themselves."""

import copy
import random

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.runner import Runner
from torch import nn

from chex_mm.errors import ChexError
from chex_mm.packages.paths import (
    generated_batch,
    run_paths,
    trace_detector,
    training_batch,
)

from ..engine.small_retinanet import build_retinanet
from ..engine.toy_runs import WIDTH, ToyImages, ToyNet, build, loader

MMDET = Config(dict(default_scope='mmdet'))


def states():
    return (
        random.getstate(),
        list(np.random.get_state()),
        torch.get_rng_state(),
    )


def is_same(one, other):
    return all(map(np.array_equal, np.array(one[1], object), other[1])) and (
        one[0] == other[0] and torch.equal(one[2], other[2])
    )


def batch():
    return training_batch(loader('DefaultSampler'))


@pytest.mark.parametrize('source', ['runner', 'loader', 'config'])
def test_a_batch_of_two_training_samples(tmp_path, source):
    cfg = loader('DefaultSampler')
    sources = dict(
        runner=lambda: build(tmp_path),
        loader=lambda: Runner.build_dataloader(cfg),
        config=lambda: cfg,
    )
    given = sources[source]()
    if source == 'runner':
        given._train_loop = given.build_train_loop(given._train_loop)
    before = states()
    found = training_batch(given)
    assert is_same(states(), before)
    assert [tuple(image.shape) for image in found['inputs']] == [(3, 8, 8)] * 2
    assert found['data_samples'] == [0, 1]


def test_the_batch_does_not_depend_on_the_random_state():
    one, other = batch(), batch()
    assert torch.equal(one['inputs'][1], other['inputs'][1])


class Cached(ToyImages):
    """A data set whose pipeline keeps what it has seen, like a mosaic."""

    def __init__(self):
        super().__init__()
        self.pipeline = []

    def __getitem__(self, index):
        self.pipeline.append(index)
        return super().__getitem__(index)


class Wrapped:
    def __init__(self):
        self.dataset = Cached()

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.dataset[index]


def test_caches_of_the_pipeline_stay_as_they_were():
    cfg = {**loader('DefaultSampler'), 'dataset': Wrapped()}
    training_batch(cfg)
    assert cfg['dataset'].dataset.pipeline == []


def test_tracing_leaves_the_model_alone():
    model = ToyNet().train()
    model.backbone.stem[1].eval()
    before = copy.deepcopy(model)
    random_states, data = states(), batch()
    graph = trace_detector(model, data)
    assert list(graph.free) == [
        'backbone.stem.0',
        'backbone.inner.0',
        'neck.0',
    ]
    assert is_same(states(), random_states)
    for (name, one), other in zip(
        model.state_dict().items(), before.state_dict().values()
    ):
        assert torch.equal(one, other), name
    assert [m.training for m in model.modules()] == [
        m.training for m in before.modules()
    ]
    assert not any(m._forward_hooks for m in model.modules())


def test_the_cost_is_that_of_one_image():
    flops = trace_detector(ToyNet(), batch()).flops()
    assert flops == 64 * 9 * (3 * WIDTH + 3 * WIDTH**2) + 3 * WIDTH


def test_synchronised_norms_are_traced_without_other_processes():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(ToyNet())
    graph = trace_detector(model, batch())
    assert 'backbone.stem.0' in graph.free
    assert isinstance(model.neck[1], nn.SyncBatchNorm)


class Auxiliary(ToyNet):
    """A head used in training only adds up two groups of channels."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = super().forward(inputs, data_samples, mode)
        if mode == 'loss':
            x = self.backbone(torch.stack(inputs))
            out['loss_auxiliary'] = (x + self.neck(x)).mean()
        return out


def test_paths_of_training_couple_channels_but_do_not_cost():
    plain = trace_detector(ToyNet(), batch())
    coupled = trace_detector(Auxiliary(), batch())
    assert 'neck.0' in plain.free
    assert 'neck.0' not in coupled.groups
    assert coupled.flops() == plain.flops()


def test_a_path_that_is_not_implemented_is_skipped():
    model = ToyNet(modes=('loss', 'predict'))
    paths = run_paths(model, batch())
    assert paths.cost.mode == 'predict'
    assert [path.mode for path in paths.also] == ['loss']
    assert paths.skipped == {'tensor': 'not implemented'}


class Silent(BaseModel):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        return None


def test_a_model_without_any_path_is_an_error():
    with pytest.raises(ChexError, match='Silent cannot be traced') as error:
        run_paths(Silent(), batch())
    assert 'tensor: it returns None; predict: it returns None' in str(
        error.value
    )


class Broken(ToyNet):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'predict':
            raise KeyError('scale_factor')
        return super().forward(inputs, data_samples, mode)


def test_a_path_that_fails_is_an_error_with_context():
    with pytest.raises(
        ChexError, match="fails in its 'predict' path"
    ) as error:
        run_paths(Broken(), batch())
    assert "KeyError: 'scale_factor'" in str(error.value)
    assert isinstance(error.value.__cause__, KeyError)


def test_generated_batch_fits_an_mmdet_model():
    model = build_retinanet(num_classes=1)
    before = states()
    data = generated_batch(model, (3, 64, 96))
    assert is_same(states(), before)
    assert data['inputs'][0].shape == (3, 64, 96)
    assert all(
        (s.gt_instances.labels == 0).all() for s in data['data_samples']
    )
    paths = run_paths(model, data)
    assert [p.mode for p in (paths.cost, *paths.also)] == [
        'tensor',
        'predict',
        'loss',
    ]


class Warming(ToyNet):
    """Its loss grows with the iteration, which a Runner keeps in a hub."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = super().forward(inputs, data_samples, mode)
        if mode == 'loss':
            hub = MessageHub.get_current_instance()
            share = hub.get_info('iter') / 4 + hub.get_info('epoch')
            out['loss_warming'] = out['loss'] * share
        return out


def test_a_head_that_asks_how_far_training_is_is_told():
    hub = MessageHub.get_current_instance()
    assert hub.get_info('iter') is None
    loss = run_paths(Warming(), batch()).also[-1](Warming())
    assert loss['loss_warming'] == 0
    assert hub.get_info('iter') is None
    hub.update_info('iter', 4)
    try:
        loss = run_paths(Warming(), batch()).also[-1](Warming())
    finally:
        del hub.runtime_info['iter']
    assert loss['loss_warming'] == loss['loss']


class Noting(BaseDataPreprocessor):
    """Keeps what mode it was in, and what it was told."""

    modes: list = []

    def forward(self, data, training=False):
        self.modes.append((self.training, training))
        return super().forward(data, training)


def test_each_path_is_preprocessed_in_its_own_mode(monkeypatch):
    monkeypatch.setattr(Noting, 'modes', [])
    model = ToyNet()
    model.data_preprocessor = Noting()
    paths = run_paths(model.eval(), batch())
    modes = [path.mode == 'loss' for path in (paths.cost, *paths.also)]
    assert Noting.modes[-len(modes) :] == [(mode, mode) for mode in modes]
    assert True in modes and False in modes


def test_regions_are_data_where_no_head_proposes_them():
    model = ToyNet()
    for with_rpn, expected in ((True, False), (False, True)):
        model.with_rpn = with_rpn
        batch = generated_batch(model, (3, 32, 32), MMDET)
        samples = batch['data_samples']
        assert [('proposals' in s) for s in samples] == [expected] * 2
    assert samples[0].proposals.bboxes.shape[1] == 4
