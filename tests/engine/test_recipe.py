"""The norm recipe: what it refuses, warns about and sets."""

import pytest
import torch
from torch import nn

import chex_mm
from chex_mm.engine.hooks import recipe

from .toy_runs import ToyNet


def net(**backbone):
    model = ToyNet(dict(type='ToyBackbone', **backbone))
    graph = chex_mm.trace_channels(model.eval(), (torch.randn(2, 3, 8, 8),))
    return model.train(), list(graph.free.values())


def test_trainable_groups_pass():
    assert recipe.check_trainable(*net()) is None


def test_frozen_statistics_name_norm_eval():
    with pytest.raises(ValueError, match='do not train') as error:
        recipe.check_trainable(*net(norm_eval=True))
    text = str(error.value)
    assert 'neck.1' not in text
    assert '\n    model = dict(backbone=dict(norm_eval=False))' in text
    assert "CHEXHook(exclude=['backbone.stem.1'" in text


def test_frozen_stages_are_named():
    with pytest.raises(ValueError, match='backbone.stem.0') as error:
        recipe.check_trainable(*net(frozen_stages=0))
    assert 'model = dict(backbone=dict(frozen_stages=-1))' in str(error.value)


def test_one_line_thaws_everything():
    model, groups = net(norm_eval=True, frozen_stages=0)
    model.neck.norm_cfg = dict(type='BN', requires_grad=False)
    model.neck[1].requires_grad_(False)
    with pytest.raises(ValueError) as error:
        recipe.check_trainable(model, groups)
    assert (
        '\n    model = dict(backbone=dict(frozen_stages=-1, '
        "norm_eval=False), neck=dict(norm_cfg=dict(type='BN', "
        'requires_grad=True)))\n' in str(error.value)
    )


def test_the_line_reaches_into_a_masked_backbone():
    model, groups = net(norm_eval=True)
    model.backbone.chex_scope = True
    with pytest.raises(ValueError) as error:
        recipe.check_trainable(model, groups)
    assert 'dict(backbone=dict(backbone=dict(norm_eval=False)))' in str(
        error.value
    )


def test_norms_without_gradients_name_their_config():
    model, groups = net()
    model.neck.norm_cfg = dict(type='BN', requires_grad=False)
    model.neck[1].requires_grad_(False)
    with pytest.raises(ValueError, match='neck.1') as error:
        recipe.check_trainable(model, groups)
    assert (
        "model = dict(neck=dict(norm_cfg=dict(type='BN', "
        'requires_grad=True)))' in str(error.value)
    )


def test_layers_frozen_in_code_can_be_left_out():
    model, groups = net()
    model.neck[0].requires_grad_(False)
    with pytest.raises(ValueError, match='Either set requires_grad') as error:
        recipe.check_trainable(model, groups)
    assert str(error.value).endswith("CHEXHook(exclude=['neck.0']).")


def sgd(model, **settings):
    return torch.optim.SGD(model.parameters(), lr=0.1, **settings)


def test_no_warning_when_the_recipe_is_met():
    model, groups = net()
    assert recipe.recipe_warnings(model, groups, sgd(model)) == []


def test_norms_that_start_at_zero():
    model, groups = net(zero_init_residual=True)
    (warning,) = recipe.recipe_warnings(model, groups, sgd(model))
    assert '1 explored norm layers start at 0 (backbone.outer.1)' in warning
    assert 'model = dict(backbone=dict(zero_init_residual=False))' in warning


def test_weight_decay_on_norms():
    model, groups = net()
    (warning,) = recipe.recipe_warnings(
        model, groups, sgd(model, weight_decay=1e-4)
    )
    assert '4 explored norm layers have weight decay' in warning
    assert 'optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0))' in (
        warning
    )


def test_only_fresh_norms_are_started_anew():
    model, groups = net(zero_init_residual=True)
    trained = torch.rand(16)
    model.neck[1].weight.data.copy_(trained)
    assert recipe.init_norms(model, groups, 0.5) == 3
    assert torch.equal(model.neck[1].weight, trained)
    assert (model.backbone.outer[1].weight == 0.5).all()


def test_a_group_without_norms_has_nothing_to_warn_about():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    graph = chex_mm.trace_channels(model, (torch.randn(2, 3, 4, 4),))
    groups = list(graph.free.values())
    optimizer = sgd(model, weight_decay=1e-4)
    assert recipe.recipe_warnings(model, groups, optimizer) == []
    assert recipe.init_norms(model, groups, 0.5) == 0
