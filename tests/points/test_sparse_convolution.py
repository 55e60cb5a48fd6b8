"""mmcv's sparse convolutions on the CPU are those of a dense grid."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck
from torch.nn import functional

if not (find_spec('mmcv') and find_spec('mmcv._ext') and find_spec('numba')):
    pytest.skip('needs mmcv with operators and numba', allow_module_level=True)

from mmcv import ops
from mmcv.ops import sparse_functional, sparse_ops

import chex_mm.engine  # noqa: F401

from ..packages.sparse_networks import SIDE, cloud
from ..packages.sparse_networks import kernel_map as defined_map
from .covered import covers

# What both packages do to make a sparse tensor dense.
pytestmark = pytest.mark.filterwarnings('ignore:Using a non-tuple sequence')

LAYERS = {
    'submanifold': ops.SubMConv3d(3, 4, 3, padding=1),
    'submanifold with padding of its own': ops.SubMConv3d(
        3, 4, (1, 3, 3), padding=1, bias=False
    ),
    'dilated': ops.SparseConv3d(3, 4, 3, padding=2, dilation=2, bias=False),
    'padded': ops.SparseConv3d(3, 4, 3, padding=1, bias=False),
    'strided': ops.SparseConv3d(3, 4, (3, 2, 3), (2, 1, 2), bias=False),
    'transposed': ops.SparseConvTranspose3d(3, 4, 3, stride=2, bias=False),
}


def dense(layer, x, shape):
    """The same layer on all sites of a grid (batch, channels, z, y, x)."""
    weight = layer.weight.permute(4, 3, 0, 1, 2)  # (out, in, *kernel)
    settings = dict(stride=layer.stride, padding=layer.padding)
    if layer.subm:
        settings['padding'] = [size // 2 for size in layer.kernel_size]
    if layer.transposed:
        return functional.conv_transpose3d(
            x, weight.transpose(0, 1), **settings
        )
    out = functional.conv3d(x, weight, dilation=layer.dilation, **settings)
    return out if layer.bias is None else out + layer.bias[:, None, None, None]


@covers(sparse_ops.get_indice_pairs, None)
@covers(sparse_ops.indice_conv, None)
@covers(sparse_ops.indice_conv_backward, None)
@pytest.mark.parametrize('name', LAYERS)
def test_a_layer_is_that_of_a_dense_grid(name):
    features, sites = cloud()
    features.requires_grad_()
    layer = LAYERS[name]
    nn.init.normal_(layer.weight)
    x = ops.SparseConvTensor(features, sites, [SIDE] * 3, 2)
    out = layer(x)
    batch, *place = out.indices.long().T
    whole = dense(layer, x.dense(), out.spatial_shape)
    assert list(whole.shape[2:]) == list(out.spatial_shape)
    there = whole[batch, :, place[0], place[1], place[2]]
    torch.testing.assert_close(out.features, there, atol=1e-5, rtol=1e-5)
    given = torch.randn(there.shape)
    wanted = features, layer.weight
    found, expected = (
        torch.autograd.grad((y * given).sum(), wanted, retain_graph=True)
        for y in (out.features, there)
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('name', ['padded', 'dilated', 'transposed'])
def test_every_site_that_is_reached_is_an_output(name):
    _, sites = cloud()
    layer = LAYERS[name]
    present = ops.SparseConvTensor(
        torch.ones(len(sites), 3), sites, [SIDE] * 3, 2
    )
    nn.init.ones_(layer.weight)
    out = layer(present)
    whole = dense(layer, present.dense(), out.spatial_shape)
    batch, *place = whole[:, 0].nonzero().T
    expected = torch.stack([batch, *place], 1).int()
    assert out.indices.dtype == torch.int32
    assert out.indices.equal(expected)  # sorted, as torch lists them


@pytest.mark.parametrize('submanifold', [False, True])
def test_pairs_are_those_of_the_definition(submanifold):
    _, sites = cloud()
    shape = [SIDE] * 3
    settings = [3] * 3, [1] * 3, [1] * 3, [1] * 3, [0] * 3, submanifold, False
    outputs, table, counts = sparse_ops.get_indice_pairs(
        sites, 2, shape, *settings
    )
    known, pairs, numbers = defined_map(sites, 2, shape, shape, *settings)
    assert counts.equal(numbers) and counts.dtype == torch.int32
    assert table.shape == pairs.shape and table.dtype == torch.int32
    for weight, count in enumerate(counts.tolist()):
        assert (table[weight, :, count:] == -1).all()
        found = [(i, outputs[o].tolist()) for i, o in table[weight].T[:count]]
        expected = [(i, known[o].tolist()) for i, o in pairs[weight].T[:count]]
        assert found == expected


def test_an_inverse_layer_returns_to_the_sites_before():
    features, sites = cloud()
    down = ops.SparseConv3d(3, 4, 3, 2, padding=1, indice_key='a', bias=False)
    up = ops.SparseInverseConv3d(4, 5, 3, indice_key='a', bias=False)
    x = ops.SparseConvTensor(features.requires_grad_(), sites, [SIDE] * 3, 2)
    out = up(down(x))
    assert out.indices.equal(sites)
    below = down(x).dense()
    weight = up.weight.permute(3, 4, 0, 1, 2)  # (in, out, *kernel)
    whole = functional.conv_transpose3d(below, weight, stride=2, padding=1)
    batch, *place = sites.long().T
    there = whole[batch, :, place[0], place[1], place[2]]
    torch.testing.assert_close(out.features, there, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('inverse', [False, True])
def test_gradients_of_a_layer(inverse):
    _, sites = cloud()
    settings = [3] * 3, [2] * 3, [1] * 3
    outputs, *pairs = sparse_ops.get_indice_pairs(
        sites, 2, [SIDE] * 3, *settings
    )
    name = 'SparseInverseConvFunction' if inverse else 'SparseConvFunction'
    ends = (outputs, sites) if inverse else (sites, outputs)
    apply = getattr(sparse_functional, name).apply
    features = torch.rand(len(ends[0]), 2).double().requires_grad_()
    weight = torch.rand(3, 3, 3, 2, 2).double().requires_grad_()
    assert gradcheck(
        lambda *x: apply(*x, *pairs, len(ends[1])), (features, weight)
    )


@covers(sparse_ops.indice_maxpool, None)
@covers(sparse_ops.indice_maxpool_backward, None)
def test_pooling():
    features, sites = cloud()
    x = ops.SparseConvTensor(
        features.abs().requires_grad_(), sites, [SIDE] * 3, 2
    )
    out = ops.SparseMaxPool3d(2, 2)(x)
    whole = functional.max_pool3d(x.dense(), 2)
    batch, *place = out.indices.long().T
    there = whole[batch, :, place[0], place[1], place[2]]
    assert out.features.equal(there)
    found, expected = (
        torch.autograd.grad(y.sum(), x.features, retain_graph=True)[0]
        for y in (out.features, there)
    )
    assert found.equal(expected)


def test_no_site():
    _, sites = cloud()
    layer = LAYERS['padded']
    x = ops.SparseConvTensor(torch.rand(0, 3), sites[:0], [SIDE] * 3, 2)
    out = layer(x)
    assert out.features.shape == (0, 4) and out.indices.shape == (0, 4)
