"""The model of a slim config: the real detector, narrow."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope

from chex_mm.engine.models.slim_model import plain_architecture
from chex_mm.surgery import describe

from .small_retinanet import WIDTH, build_retinanet, retinanet


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


# A residual stage, cut by hand: all that has its channels.
SIZES = {
    'backbone.layer1.0.conv1': dict(out_channels=5, weight=(5, WIDTH, 3, 3)),
    'backbone.layer1.0.bn1': dict(
        num_features=5,
        **dict.fromkeys(
            ('weight', 'bias', 'running_mean', 'running_var'), [5]
        ),
    ),
    'backbone.layer1.0.conv2': dict(in_channels=5, weight=[WIDTH, 5, 3, 3]),
}


def build(architecture, **settings):
    config = dict(type='SlimModel', architecture=architecture, **settings)
    return MODELS.build(ConfigDict(config))


def test_it_is_the_detector_itself_with_fewer_channels():
    dense = build_retinanet()
    narrow = build(retinanet(), channels=SIZES)
    assert type(narrow) is type(dense)
    assert list(narrow.state_dict()) == list(dense.state_dict())
    conv = narrow.backbone.layer1[0].conv2
    assert (conv.in_channels, tuple(conv.weight.shape)) == (5, (8, 5, 3, 3))
    found = describe(dense, narrow).channels
    assert found.keys() == SIZES.keys()
    assert found['backbone.layer1.0.bn1']['running_var'] == (5,)
    image = torch.rand(1, 3, 64, 64)
    assert narrow(image)[0][0].shape == dense(image)[0][0].shape


def test_it_takes_the_preprocessor_of_the_config():
    architecture = retinanet()
    preprocessor = architecture.pop('data_preprocessor')
    settings = dict(channels={}, data_preprocessor=preprocessor)
    model = build(architecture, **settings)
    assert model.data_preprocessor.pad_size_divisor == 32
    own = dict(preprocessor, pad_size_divisor=8)
    model = build(dict(architecture, data_preprocessor=own), **settings)
    assert model.data_preprocessor.pad_size_divisor == 8


def test_sizes_of_another_model_are_refused():
    with pytest.raises(ValueError, match="has a module 'backbone.layer9'"):
        build(retinanet(), channels={'backbone.layer9': dict(weight=[1])})
    conv = {'backbone.conv1': dict(weight=[16, 3, 7, 7])}
    with pytest.raises(ValueError, match=r'wants weight = \(16, 3, 7, 7\)'):
        build(retinanet(), channels=conv)


def test_wrappers_and_pretrained_weights_are_left_out():
    kaiming = dict(type='Kaiming', layer='Conv2d')
    pretrained = dict(type='Pretrained', checkpoint='torchvision://resnet18')
    wrapped = retinanet(masked=True)
    wrapped['backbone']['backbone'].update(init_cfg=pretrained)
    wrapped['neck'].update(init_cfg=[pretrained])
    wrapped['bbox_head'].update(init_cfg=kaiming)
    wrapped.update(pretrained='open-mmlab://resnet18')
    before = copy.deepcopy(wrapped)
    plain = plain_architecture(ConfigDict(wrapped))
    expected = retinanet()
    expected['bbox_head'].update(init_cfg=kaiming)
    assert plain.to_dict() == expected
    assert wrapped == before
    model = build(wrapped, channels=SIZES)
    assert not hasattr(model.backbone, 'chex_scope')
    model.init_weights()  # nothing is downloaded


def test_a_type_may_be_given_as_a_class():
    wrapper = MODELS.get('MaskedBackbone')
    config = dict(type=wrapper, backbone=dict(type=torch.nn.Identity))
    assert plain_architecture(config) == dict(type=torch.nn.Identity)


def test_a_norm_of_distributed_runs_is_plain_outside_of_them(monkeypatch):
    config = dict(norm=[dict(type='MMSyncBN', requires_grad=True)])
    assert plain_architecture(config) == dict(
        norm=[dict(type='BN', requires_grad=True)]
    )
    monkeypatch.setattr(
        'chex_mm.engine.models.slim_model.is_initialized', lambda: True
    )
    assert plain_architecture(config) == config
