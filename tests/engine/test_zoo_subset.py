"""Architectures of different kinds, as wide as in mmdet's own configs.

The whole zoo is run by `tools/zoo.py`; these go with every commit.
"""

from functools import partial

import pytest
from mmengine.registry import DefaultScope

from chex_mm.engine import zoo_sources
from chex_mm.engine.zoo import judge

# What mmdet and mmcv call on this torch.
pytestmark = [
    pytest.mark.slow,
    *(
        pytest.mark.filterwarnings(f'ignore:{message}')
        for message in ('torch.meshgrid', '`torch.cuda.amp', '.*will be remov')
    ),
]

SIDES = [96, 128, 320]
# Config to the least share of multiply-adds in layers that may be cut.
ARCHITECTURES = {
    # A GroupNorm head shared by all levels.
    'fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-'
    'lsj-200e_coco.py': 0.95,
    # Cross-stage blocks, a path aggregation network, concatenation.
    'yolox/yolox_tiny_8xb8-300e_coco.py': 0.95,
    # Depthwise convolutions.
    'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py': 0.95,
}


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_an_architecture_is_exact(name):
    make = partial(zoo_sources.make, 'mmdet', name, SIDES)
    verdict = judge(name, make)
    assert (verdict.status, verdict.reason) == ('exact', '')
    assert set(verdict.differences) == {'random', 'norms', 'reloaded'}
    assert verdict.unknown == []
    assert verdict.prunable >= ARCHITECTURES[name]
