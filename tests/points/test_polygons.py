"""The overlap of turned boxes that losses are made of."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

if not (find_spec('mmcv') and find_spec('mmcv._ext') and find_spec('numba')):
    pytest.skip('needs mmcv with operators and numba', allow_module_level=True)

from mmcv.ops import diff_iou_rotated_2d, diff_iou_rotated_3d
from mmcv.ops.diff_iou_rotated import SortVertices

import chex_mm.engine  # noqa: F401

from . import definitions
from .covered import covers


def boxes(generator, count):
    """Rows of x, y, two sizes and an angle."""
    rows = generator.random((count, 5)) * [3, 3, 3, 3, 6]
    return torch.from_numpy(rows + [0, 0, 0.5, 0.5, 0])


def upright(row):
    """The same box for the definition, with a height."""
    x, y, dx, dy, angle = row.tolist()
    return [x, y, 0, dx, dy, 1, angle]


@covers(SortVertices)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_overlaps_are_those_of_the_definition(seed, count):
    generator = np.random.default_rng(seed)
    one, other = boxes(generator, count), boxes(generator, count)
    found = diff_iou_rotated_2d(one[None], other[None])[0]
    pairs = zip(map(upright, one), map(upright, other))
    expected = torch.tensor([definitions.iou(*pair) for pair in pairs])
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-5)


EQUAL = [1.0, 2, 3, 1, 0.5]
CASES = {
    'equal boxes': (EQUAL, EQUAL, 1),
    'half a turn': (EQUAL, [1, 2, 3, 1, 0.5 + np.pi], 1),
    'one in the other': ([0.0, 0, 4, 4, 0], [0.0, 0, 1, 1, 0.3], 1 / 16),
    'apart': ([0.0, 0, 1, 1, 0], [9.0, 0, 1, 1, 0.3], 0),
    'a cross': ([0.0, 0, 3, 1, 0], [0.0, 0, 1, 3, 0], 1 / 5),
    'an eighth of a turn': (
        [0.0, 0, 2, 2, 0],
        [0.0, 0, 2, 2, np.pi / 4],
        1 / 2**0.5,  # an octagon: 8 (sqrt(2) - 1) of all that is covered
    ),
}


@pytest.mark.parametrize('name', CASES)
def test_special_places(name):
    one, other, expected = CASES[name]
    one, other = (torch.tensor([[row]]) for row in (one, other))
    found = float(diff_iou_rotated_2d(one, other))
    assert found == pytest.approx(expected, abs=1e-5)


def test_indices_close_the_polygon():
    corners = torch.zeros(1, 1, 24, 2)
    corners[0, 0, 1] = torch.tensor([1.0, -1])
    corners[0, 0, 4] = torch.tensor([0.0, 2])
    corners[0, 0, 8] = torch.tensor([-1.0, -1])
    mask = corners.any(-1)
    index = SortVertices.apply(corners, mask, mask.sum(-1).int())
    # By angle: 8, 1, 4; then the first again, and what is no corner.
    assert index.dtype == torch.int32
    assert index.tolist() == [[[8, 1, 4, 8, 9, 9, 9, 9, 9]]]
    mask[..., 8] = False
    index = SortVertices.apply(corners, mask, mask.sum(-1).int())
    assert index.tolist() == [[[8] * 9]]  # two corners share nothing


def test_gradients_of_the_overlap():
    one = torch.tensor([[[0.0, 0, 0, 2, 3, 1, 0.3]]], dtype=torch.float64)
    other = torch.tensor([[[0.5, 0.4, 0.1, 2, 2, 1, 1]]], dtype=torch.float64)
    assert gradcheck(
        diff_iou_rotated_3d, (one.requires_grad_(), other.requires_grad_())
    )
