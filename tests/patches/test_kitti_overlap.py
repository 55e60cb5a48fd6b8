"""What stands in for mmdet3d's overlap of boxes, which is for CUDA only."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.logging import MMLogger

pytest.importorskip('mmdet3d.evaluation', reason='needs mmdet3d')

import chex_mm.engine  # noqa: E402, F401
from chex_mm.patches import kitti_overlap  # noqa: E402
from chex_mm.patches.kitti_overlap import rotate_iou_gpu_eval  # noqa: E402

from ..points import definitions  # noqa: E402

SIMULATED = """
import sys
import numpy as np
from mmdet3d.evaluation.functional.kitti_utils import rotate_iou

data = np.load(sys.argv[1])
out = {str(k): rotate_iou.rotate_iou_gpu_eval(data['a'], data['b'], k)
       for k in (-1, 0, 1, 2)}
np.savez(sys.argv[2], **out)
"""


def boxes(generator, count):
    """Rows of x, y, two sizes and an angle, clockwise."""
    rows = generator.random((count, 5)) * [6, 6, 3, 3, 7]
    return (rows + [0, 0, 0.5, 0.5, -3]).astype(np.float32)


def upright(row):
    """The same box for the definition: counterclockwise, with a height."""
    x, y, dx, dy, angle = (float(value) for value in row)
    return [x, y, 0, dx, dy, 1, -angle]


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5))
def test_overlaps_are_those_of_the_definition(seed, count, others):
    generator = np.random.default_rng(seed)
    a, b = boxes(generator, count), boxes(generator, others)
    found = rotate_iou_gpu_eval(a, b)
    expected = [
        [definitions.iou(upright(p), upright(q)) for q in b] for p in a
    ]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


SQUARE = [[0, 0, 2, 2, 0]]
WIDE = [[1, 0, 4, 1.5, 0]]  # shares 2 x 1.5 with the square


@pytest.mark.parametrize(
    ('criterion', 'expected'), [(-1, 3 / 7), (0, 3 / 6), (1, 3 / 4), (2, 3)]
)
def test_what_the_shared_area_is_divided_by(criterion, expected):
    found = rotate_iou_gpu_eval(np.array(SQUARE), np.array(WIDE), criterion)
    assert found.tolist() == [[pytest.approx(expected)]]


def test_a_positive_angle_is_clockwise():
    # Turned clockwise, the long box points to the lower right.
    long = np.array([[0, 0, 8, 1, np.pi / 4]])
    corners = np.array([[2, -2, 1, 1, 0], [2, 2, 1, 1, 0.0]])
    found = rotate_iou_gpu_eval(long, corners, 2)[0]
    assert found[0] > 0.8 and found[1] == 0


def test_equal_boxes_touching_boxes_and_none():
    row = np.array([[3, 1, 2, 1, 0.3]])
    assert rotate_iou_gpu_eval(row, row) == pytest.approx(1)
    beside = np.array([[0, 0, 2, 2, 0], [2, 0, 2, 2, 0.0]])
    assert rotate_iou_gpu_eval(beside, beside, 2).tolist() == [[4, 0], [0, 4]]
    assert rotate_iou_gpu_eval(row[:0], row).shape == (0, 1)


def test_broken_boxes_share_nothing():
    row = np.array([[0, 0, 2, 2, 0.0]])
    broken = np.full((1, 5), np.nan)
    assert rotate_iou_gpu_eval(row, broken, 2).tolist() == [[0]]
    empty = np.array([[0, 0, 0, 0, 0.0]])
    assert np.isnan(rotate_iou_gpu_eval(empty, empty)).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason='mmdet3d has its own')
def test_the_metric_calls_it():
    evaluate = importlib.import_module(
        'mmdet3d.evaluation.functional.kitti_utils.eval'
    )
    a = np.array(SQUARE, np.float32)
    assert evaluate.bev_box_overlap(a, a) == pytest.approx(1)
    # x, y, z, three sizes and an angle; 2 of 3 metres of height are shared
    box = np.array([[0, 0, 0, 2, 3, 2, 0], [0, 1, 0, 2, 3, 2, 0]], np.float32)
    found = evaluate.d3_box_overlap(box[:1], box[1:])
    assert found == pytest.approx(8 / 16)


def test_the_log_says_so_once(monkeypatch):
    lines = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'log', lambda level, text: lines.append(text))
    kitti_overlap._report_once.cache_clear()
    for _ in range(2):
        rotate_iou_gpu_eval(np.array(SQUARE), np.array(SQUARE))
    assert len(lines) == 1 and 'for CUDA only' in lines[0]


@pytest.mark.slow
def test_the_numbers_are_those_of_mmdet3d(tmp_path):
    """Its kernel, in numba's simulator of CUDA."""
    generator = np.random.default_rng(0)
    a, b = boxes(generator, 6), boxes(generator, 7)
    np.savez(tmp_path / 'in.npz', a=a, b=b)
    subprocess.run(
        [
            *(sys.executable, '-W', 'ignore', '-c', SIMULATED),
            *(str(tmp_path / name) for name in ('in.npz', 'out.npz')),
        ],
        env={'NUMBA_ENABLE_CUDASIM': '1', 'PATH': ''},
        check=True,
        capture_output=True,
    )
    with np.load(tmp_path / 'out.npz') as theirs:
        for criterion in (-1, 0, 1, 2):
            np.testing.assert_allclose(
                rotate_iou_gpu_eval(a, b, criterion),
                theirs[str(criterion)],
                atol=1e-5,
            )
