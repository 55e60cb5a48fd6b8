"""What is known of a package is found, by config and by model, and is true."""

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from chex_mm.errors import ChexError
from chex_mm.packages import load_packages, package_in, package_of
from chex_mm.packages.mmdet import SharedRegions
from chex_mm.packages.package import Package
from chex_mm.packages.paths import generated_batch
from chex_mm.registry import keys_of
from chex_mm.surgery import ATTRIBUTES
from chex_mm.trace.rules import PENALTIES, RULES, SIZES

from ..engine.small_retinanet import build_retinanet
from ..engine.toy_runs import ToyNet

ROOT = Path(__file__).parents[2]
KNOWN = load_packages()
NAMES = sorted(
    name
    for table in (RULES, SIZES, ATTRIBUTES, PENALTIES)
    for name in table
    if isinstance(name, str) and name.partition('.')[0] in {'spconv', *KNOWN}
)


def test_packages_with_models():
    assert list(KNOWN) == ['mmdet3d', 'mmdet', 'mmpretrain', 'mmseg']


@pytest.mark.parametrize('name', NAMES)
def test_a_type_that_is_known_by_name_is_there(name):
    pytest.importorskip(name.partition('.')[0])
    module, _, kind = name.rpartition('.')
    assert keys_of(getattr(import_module(module), kind))[1] == name


def test_every_rule_on_points_has_a_case():
    pytest.importorskip('mmdet3d.models', reason='needs mmdet3d')
    pytest.importorskip('spconv.pytorch', reason='needs spconv')
    from . import test_point_rules, test_sparse_rules, test_voxel_rules

    tried = {
        *(case.key for case in test_point_rules.CASES),
        *test_sparse_rules.CONVOLUTIONS,
        *test_sparse_rules.POOLS,
        *test_voxel_rules.FUNCTIONS,
    }
    keys = {key for kind in tried for key in keys_of(kind)[:2]}
    rules = {
        key
        for key, rule in RULES.items()
        if rule.__module__.startswith('chex_mm.packages.')
        and rule.__module__ != 'chex_mm.packages.mmcv.maps'
    }
    assert rules <= keys
    assert all(rules & set(keys_of(kind)[:2]) for kind in tried)


def test_a_config_tells_its_package():
    assert package_of(Config(dict(default_scope='mmseg'))) is KNOWN['mmseg']
    with pytest.raises(ChexError, match="mmdet, mmdet3d, .*'mmrotate'"):
        package_of(Config(dict(default_scope='mmrotate')))


def test_a_model_tells_its_package():
    model = build_retinanet(num_classes=1)
    assert package_in(model) is KNOWN['mmdet']
    assert package_in(nn.Sequential(nn.ReLU(), model.neck)) is KNOWN['mmdet']
    config = Config(dict(default_scope='mmpretrain'))
    assert package_in(model, config) is KNOWN['mmpretrain']


def test_a_model_of_no_package_is_as_mmengine_has_it():
    package, model = package_in(ToyNet()), ToyNet()
    assert package == Package()
    assert package.shared(model) is model
    with pytest.raises(ChexError, match='for ToyNet: it is of no package'):
        generated_batch(model)


def test_what_is_counted_is_said_in_words():
    image = 'an image of 96 x 64'
    units = {name: each.unit((64, 96)) for name, each in KNOWN.items()}
    assert units.pop('mmdet3d') == 'one generated scene'
    assert set(units.values()) == {image}


def test_mmdet3d_answers_as_mmdet_where_it_is_not_asked_itself():
    assert KNOWN['mmdet3d'].shared is SharedRegions


def test_features_that_heads_hand_on_are_no_results():
    output = dict(vote_features=torch.ones(1), scores=[torch.zeros(2)])
    assert list(KNOWN['mmdet3d'].plain(output)) == ['scores']
    assert list(KNOWN['mmdet'].plain(output)) == list(output)


# Nothing is imported that no model is of -------------------------------------

IMPORTS = """
import sys
import warnings
warnings.simplefilter('ignore')
import chex_mm.engine
known = {'mmdet', 'mmdet3d', 'mmpretrain', 'mmseg', 'spconv'}
assert not known & sys.modules.keys()
from mmdet.models.roi_heads.mask_heads import fcn_mask_head
from mmdet.models import SSDHead
assert SSDHead.loss_cls is None
assert fcn_mask_head._do_paste_mask.__wrapped__
assert not {'mmdet3d', 'spconv'} & sys.modules.keys()
"""


def test_a_package_is_imported_and_changed_once_it_is_used():
    pytest.importorskip('mmdet')
    done = subprocess.run(
        [sys.executable, '-c', IMPORTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, '')


# mmpretrain and mmseg, without mmdet -----------------------------------------

ALONE = """
import sys
sys.modules.update(mmdet=None, mmdet3d=None, spconv=None, {others})
import warnings
warnings.simplefilter('ignore')
sys.path.insert(0, 'tools')
import analyze
sys.argv = ['analyze.py', *sys.argv[1:]]
analyze.main()
"""


@pytest.mark.parametrize(
    ('package', 'others', 'config', 'side'),
    [
        ('mmpretrain', 'mmseg=None', 'resnet/resnet18_8xb16_cifar10.py', 32),
        (
            'mmseg',
            'mmpretrain=None',
            'fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py',
            64,
        ),
    ],
)
def test_a_model_is_analysed_without_mmdet(package, others, config, side):
    if find_spec(package) is None:
        pytest.skip(f'needs {package}')
    arguments = f'{package}::{config}', '--verify', '--shape', str(side)
    done = subprocess.run(
        [sys.executable, '-c', ALONE.format(others=others), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'channel groups may be cut' in done.stdout
    assert 'masked and narrow: largest difference ' in done.stdout
