"""Architectures of different kinds, as wide as in mmdet's own configs.

The whole zoo is run by `python -m benchmarks.zoo`; these go with every commit.
"""

from functools import partial

import pytest
from mmengine.registry import DefaultScope

from benchmarks.zoo import sources
from benchmarks.zoo.verdict import judge

# What mmdet and mmcv call on this torch.
pytestmark = [
    pytest.mark.slow,
    *(
        pytest.mark.filterwarnings(f'ignore:{message}')
        for message in (
            'torch.meshgrid',
            '`torch.cuda.amp',
            'The arguments `dropout',
            'DeprecationWarning',  # of anchor_generator
        )
    ),
]

SIDES = [96, 128, 320]
# Config to the least share of multiply-adds in layers that may be cut.
ARCHITECTURES = {
    # A GroupNorm head that all levels share.
    'fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-'
    'lsj-200e_coco.py': 0.95,
    'atss/atss_r18_fpn_8xb8-amp-lsj-200e_coco.py': 0.95,
    # Cross-stage blocks and concatenation.
    'yolox/yolox_tiny_8xb8-300e_coco.py': 0.95,
    # Depthwise convolutions.
    'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py': 0.95,
    # Deformable convolutions, of points and of modulated masks.
    'reppoints/reppoints-bbox_r50-center_fpn-gn_head-gn-grid_1x_coco.py': 0.95,
    'vfnet/vfnet_r50-mdconv-c3-c5_fpn_ms-2x_coco.py': 0.95,
    # Prototypes, and kernels that a head computes.
    'yolact/yolact_r50_1xb8-55e_coco.py': 0.95,
    'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py': 0.95,
    'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py': 0.95,
    # Regions.
    'faster_rcnn/faster-rcnn_r18_fpn_8xb8-amp-lsj-200e_coco.py': 0.95,
    'mask_rcnn/mask-rcnn_r18_fpn_8xb8-amp-lsj-200e_coco.py': 0.95,
    # Attention: its projections stay as wide as they are.
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py': 0.7,
}


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_an_architecture_is_exact(name):
    make = partial(sources.make, 'mmdet', name, SIDES)
    verdict = judge(name, make)
    assert (verdict.status, verdict.reason) == ('exact', '')
    assert set(verdict.differences) == {'random', 'norms', 'reloaded'}
    assert verdict.unknown == []
    assert verdict.prunable >= ARCHITECTURES[name]
