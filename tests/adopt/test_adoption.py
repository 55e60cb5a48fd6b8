"""What a config must say differently, found on configs and toy models."""

from mmengine.config import Config
from torch import nn

from chex_mm.adopt.adoption import (
    applied,
    mergeable,
    model_changes,
    pretrained_places,
    wrapped_backbone,
)
from chex_mm.cli.command_line import load_config

WEIGHTS = dict(type='Pretrained', checkpoint='torchvision://resnet50')


class Part(nn.Module):
    """A module that remembers options."""

    def __init__(self, **options):
        super().__init__()
        for name, value in options.items():
            setattr(self, name, value)


def test_weights_are_found_wherever_a_config_names_them():
    config = dict(
        backbone=dict(init_cfg=WEIGHTS),
        heads=[dict(type='A'), dict(init_cfg=[dict(type='Xavier'), WEIGHTS])],
        teacher=dict(pretrained='open-mmlab://vgg16'),
        other=dict(init_cfg=dict(type='Xavier'), pretrained=None),
    )
    assert list(pretrained_places(config)) == [
        ('backbone', 'init_cfg'),
        ('heads', '1', 'init_cfg'),
        ('teacher', 'pretrained'),
    ]


def test_weights_of_stock_configs():
    for name, places in {
        'mmdet::ssd/ssd300_coco.py': [('backbone', 'init_cfg')],
        'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py': [],
        'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py': [
            ('backbone', 'init_cfg')
        ],
    }.items():
        assert list(pretrained_places(load_config(name).model)) == places


def test_defaults_that_a_config_does_not_show_are_found():
    model = Part(backbone=Part(norm_eval=True, zero_init_residual=True))
    found = model_changes(model, dict(backbone=dict(type='ResNet')))
    assert found == dict(
        backbone=dict(norm_eval=False, zero_init_residual=False)
    )


def test_frozen_norms_train_and_the_rest_of_their_config_stays():
    norm = dict(type='BN', eps=0.1, requires_grad=False)
    model = Part(backbone=Part(norm_cfg=norm, frozen_stages=1))
    config = dict(backbone=dict(norm_cfg=norm, frozen_stages=1))
    found = mergeable(config, model_changes(model, config))
    assert found == dict(
        backbone=dict(norm_cfg=dict(requires_grad=True), frozen_stages=-1)
    )


def test_an_option_of_an_inner_module_is_set_where_the_config_has_it():
    norm = dict(type='BN', requires_grad=False)
    model = Part(neck=Part(conv=Part(norm_cfg=norm)))
    found = model_changes(model, dict(neck=dict(type='N', norm_cfg=norm)))
    assert found['neck']['norm_cfg']['requires_grad'] is True
    assert model_changes(model, dict(neck=dict(type='N'))) == {}


def test_a_list_is_given_as_a_whole():
    config = dict(heads=[dict(type='A', init_cfg=WEIGHTS), dict(type='B')])
    changes = {'heads': {'0': {'init_cfg': None}}}
    whole = [dict(type='A', init_cfg=None), dict(type='B')]
    assert mergeable(config, changes) == dict(heads=whole)
    assert applied(config, changes) == dict(heads=whole)
    assert config['heads'][0]['init_cfg'] == WEIGHTS


def test_what_the_base_says_already_is_left_out():
    config = Config(dict(backbone=dict(norm_eval=False, depth=18)))
    changes = dict(backbone=dict(norm_eval=False, frozen_stages=-1))
    assert mergeable(config, changes) == dict(backbone=dict(frozen_stages=-1))


def test_only_one_backbone_is_wrapped():
    config = dict(backbone=dict(type='R', depth=18), neck=dict(type='N'))
    changes = dict(backbone=dict(norm_eval=False))
    wrapped, left = wrapped_backbone(config, ('backbone',), changes)
    inner = dict(type='R', depth=18, norm_eval=False)
    assert wrapped == dict(
        backbone=dict(_delete_=True, type='MaskedBackbone', backbone=inner)
    )
    assert left == ()
    for scope in (('neck',), ('backbone', 'neck'), ('backbone.layer1',), ()):
        assert wrapped_backbone(config, scope, changes) == (changes, scope)
