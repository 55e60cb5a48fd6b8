"""Small detectors of either package by name; mmdet3d is looked for late."""

from copy import deepcopy
from importlib import import_module

import pytest

from chex_mm.cli.command_line import load_config

from . import small_detectors

TRAINING = ('frozen_stages', 'norm_eval', 'norm_cfg')
IMAGES = ('retinanet', 'mask_rcnn', 'rtmdet', 'yolox', 'ssd', 'fcos')
CLOUDS = ('votenet', 'pointpillars')


def module_of(name):
    """Where a small detector is described."""
    if name in small_detectors.DETECTORS:
        return small_detectors
    pytest.importorskip('mmdet3d.models', reason='needs mmdet3d')
    for module in ('small_detectors3d', 'voxel_detectors'):
        found = import_module(f'.{module}', __package__)
        if name in found.DETECTORS:
            return found
    raise KeyError(name)


def stock(name):
    """A small detector that trains as in its package: frozen, pre-trained."""
    module = module_of(name)
    if module is not small_detectors:
        return module.small_config(name)
    path, changes = module.DETECTORS[name]
    config = load_config(f'mmdet::{path}')
    changes = deepcopy(changes)
    for option in TRAINING:
        changes['backbone'].pop(option, None)
    config.merge_from_dict({'model': changes})
    return config


def small(name):
    """Config and model of a small detector."""
    module = module_of(name)
    built = module.build_small(name)
    model = built[0] if isinstance(built, tuple) else built
    return module.small_config(name), model
