"""A written config trains as it is, and the hook has nothing to warn about."""

from copy import deepcopy

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from chex_mm import ChexError
from chex_mm.adopt.chexify import Adoption, chexify
from chex_mm.cli.command_line import build_runner
from chex_mm.engine.hooks.chex_hook import CHEXHook

from ..engine.generated_runs import generated, short_run
from ..engine.stock_detectors import CLOUDS, IMAGES, stock

pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in (
        'torch.meshgrid',
        '`torch.cuda.amp',
        'Unnecessary conv bias',
        'dir_offset and dir_limit_offset',
        'DeprecationWarning',
        'Using torch.cross without',
    )
]
SIDE = 128


@pytest.fixture(
    params=[
        pytest.param(n, marks=[] if n == 'fcos' else pytest.mark.slow)
        for n in (*IMAGES, *CLOUDS)
    ]
)
def name(request):
    return request.param


def test_what_is_written_trains_without_a_warning(name, tmp_path):
    base = stock(name)
    init_default_scope(base.default_scope)
    base.dump(tmp_path / 'base.py')
    adoption = Adoption(keep=0.6, divisor=2, shape=(SIDE, SIDE))
    done = chexify(
        str(tmp_path / 'base.py'), base, tmp_path / 'chex.py', adoption
    )
    assert done.warnings == ()
    config = Config.fromfile(tmp_path / 'chex.py')
    assert not config.get('load_from')
    batch = generated(config, (SIDE, SIDE))
    runner = build_runner(short_run(config, name, tmp_path / 'run', batch))
    runner.train()
    (hook,) = (h for h in runner.hooks if isinstance(h, CHEXHook))
    assert hook.explorer.is_finished
    assert hook.explorer.share() <= 0.6
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    said = [line for line in log.splitlines() if 'CHEX' in line]
    assert said and not [line for line in said if 'WARNING' in line]


@pytest.fixture(scope='module')
def retinanet(tmp_path_factory):
    """A stock config, as a file and as what it holds."""
    base = stock('retinanet')
    init_default_scope('mmdet')
    path = tmp_path_factory.mktemp('base') / 'base.py'
    base.dump(path)
    return str(path), base


SMALL = dict(shape=(SIDE, SIDE), divisor=2)


def test_a_backbone_alone_is_wrapped(retinanet, tmp_path):
    adoption = Adoption(keep=0.5, scope=('backbone',), of_scope=True, **SMALL)
    out = tmp_path / 'chex.py'
    done = chexify(*retinanet, out, adoption)
    config = Config.fromfile(out)
    wrapper = config.model.backbone
    assert list(wrapper) == ['type', 'backbone']
    assert wrapper.type == 'MaskedBackbone'
    inner, given = wrapper.backbone, retinanet[1].model.backbone
    assert inner.init_cfg is None and inner.zero_init_residual is False
    assert inner.base_channels == given.base_channels
    (hook,) = config.custom_hooks
    assert hook == dict(
        type='CHEXHook',
        budget=dict(type='flops', keep=0.5, of='scope'),
        divisor=2,
    )
    assert 'GFLOPs of the scope' in done.summary


def test_weights_are_kept_when_asked_for(retinanet, tmp_path):
    adoption = Adoption(keep=0.7, pretrained=True, **SMALL)
    out = tmp_path / 'chex.py'
    done = chexify(*retinanet, out, adoption)
    config = Config.fromfile(out)
    given = retinanet[1].model.backbone.init_cfg
    assert config.model.backbone.init_cfg == given
    assert config.model.backbone.frozen_stages == -1
    assert done.text.startswith('"""CHEX from given weights to 70% of')
    assert 'from random weights already' not in done.text


def test_the_base_is_named_from_where_the_config_is(retinanet, tmp_path):
    out = tmp_path / 'configs' / 'chex.py'
    chexify(*retinanet, out, Adoption(keep=0.7, **SMALL))
    named = out.read_text().split("_base_ = '")[1].partition("'")[0]
    assert not named.startswith('/')
    assert (out.parent / named).resolve().samefile(retinanet[0])
    assert [path.name for path in out.parent.iterdir()] == ['chex.py']


def test_scales_that_no_norm_rule_covers_do_not_decay(tmp_path):
    base = stock('ssd')
    init_default_scope('mmdet')
    base.dump(tmp_path / 'base.py')
    out = tmp_path / 'chex.py'
    done = chexify(
        str(tmp_path / 'base.py'), base, out, Adoption(keep=0.7, **SMALL)
    )
    assert done.warnings == ()


def explored(config):
    config.custom_hooks = [dict(type='CHEXHook', budget=dict(keep=0.5))]


def nameless(config):
    config.model.type = dict


@pytest.mark.parametrize(
    'change, options, text',
    [
        (explored, {}, 'base.py has a CHEXHook already; pass the config of'),
        (nameless, {}, 'is a config in pure Python style'),
        (None, dict(keep=0.001), 'is out of reach: the share can be between'),
        (None, dict(keep=1.5), 'keep=1.5 is not a share'),
        (None, dict(scope=('neko',)), "'neko' matches no module"),
        (
            lambda config: config.model.backbone.update(type='NoNet'),
            {},
            'The model of the config cannot be built: KeyError',
        ),
    ],
)
def test_what_it_refuses(change, options, text, retinanet, tmp_path):
    name, base = retinanet
    base = deepcopy(base)
    if change:
        change(base)
    with pytest.raises((ChexError, ValueError)) as error:
        chexify(
            name, base, tmp_path / 'chex.py', Adoption(**{**SMALL, **options})
        )
    assert text in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_group_norm_has_no_statistics_to_synchronise(retinanet, tmp_path):
    name, base = retinanet
    base = deepcopy(base)
    norm = dict(type='GN', num_groups=4, requires_grad=True)
    base.model.backbone.norm_cfg = norm
    path = tmp_path / 'base.py'
    base.dump(path)
    done = chexify(
        str(path), base, tmp_path / 'chex.py', Adoption(keep=0.7, **SMALL)
    )
    assert 'sync_bn' not in done.text
    assert 'GFLOPs for an image of 128 x 128, ' in done.summary


def test_scales_with_settings_of_their_own_keep_the_rest(retinanet, tmp_path):
    base = deepcopy(retinanet[1])
    keys = dict(backbone=dict(lr_mult=0.1, decay_mult=1.0))
    base.optim_wrapper.paramwise_cfg = dict(custom_keys=keys)
    path = tmp_path / 'base.py'
    base.dump(path)
    done = chexify(
        str(path), base, tmp_path / 'chex.py', Adoption(keep=0.7, **SMALL)
    )
    assert done.warnings == ()
    written = Config.fromfile(tmp_path / 'chex.py').optim_wrapper
    found = written.paramwise_cfg.custom_keys
    assert found.pop('backbone') == keys['backbone']
    assert 'backbone.layer1.0.bn1' in found
    assert all(v == dict(lr_mult=0.1, decay_mult=0) for v in found.values())


def test_what_is_frozen_in_code_is_left_out(retinanet, tmp_path, monkeypatch):
    from mmdet.models import FPN

    trains = FPN.train

    def freeze(self, mode=True):
        self.lateral_convs[0].conv.requires_grad_(False)
        return trains(self, mode)

    monkeypatch.setattr(FPN, 'train', freeze)
    out = tmp_path / 'chex.py'
    chexify(*retinanet, out, Adoption(keep=0.8, **SMALL))
    (hook,) = Config.fromfile(out).custom_hooks
    assert hook.exclude == ['neck.lateral_convs.0.conv']
    assert '# Frozen in the code of the model.' in out.read_text()
