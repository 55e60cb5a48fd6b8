"""spconv's sparse convolutions on the CPU are those of a dense grid."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional

if not (find_spec('mmcv') and find_spec('mmcv._ext') and find_spec('numba')):
    pytest.skip('needs mmcv with operators and numba', allow_module_level=True)
if not find_spec('spconv'):
    pytest.skip('needs spconv', allow_module_level=True)

import spconv.pytorch as spconv
from cumm import tensorview as tv
from spconv.pytorch import ops
from spconv.pytorch.conv import SparseConvolution

import chex_mm.engine  # noqa: F401

from ..packages.sparse_networks import SIDE, cloud, network
from .covered import covers

# What the package does to make a sparse tensor dense.
pytestmark = pytest.mark.filterwarnings('ignore:Using a non-tuple sequence')

PLAIN = dict(bias=False)
LAYERS = {
    'submanifold': spconv.SubMConv3d(3, 4, 3, padding=1),
    'submanifold, longer': spconv.SubMConv3d(3, 4, (1, 3, 5), **PLAIN),
    'padded': spconv.SparseConv3d(3, 4, 3, padding=1, **PLAIN),
    'dilated': spconv.SparseConv3d(3, 4, 3, padding=2, dilation=2, **PLAIN),
    'strided': spconv.SparseConv3d(3, 4, (3, 2, 3), (2, 1, 2), **PLAIN),
    'transposed': spconv.SparseConvTranspose3d(3, 4, 3, stride=2, **PLAIN),
}


def dense(layer, x):
    """The same layer on all sites of a grid (batch, channels, z, y, x)."""
    weight = layer.weight.permute(0, 4, 1, 2, 3)  # (out, in, *kernel)
    settings = dict(stride=layer.stride, padding=layer.padding)
    if layer.subm:
        settings['padding'] = [size // 2 for size in layer.kernel_size]
    if layer.transposed:
        weight = weight.transpose(0, 1)
        return functional.conv_transpose3d(x, weight, **settings)
    settings['dilation'] = layer.dilation
    return functional.conv3d(x, weight, layer.bias, **settings)


def check(out, whole, wanted):
    """Values at the sites, and gradients of what is wanted."""
    batch, *place = out.indices.long().T
    there = whole[batch, :, place[0], place[1], place[2]]
    torch.testing.assert_close(out.features, there, atol=1e-5, rtol=1e-5)
    given = torch.randn(there.shape)
    found, expected = (
        torch.autograd.grad((y * given).sum(), wanted, retain_graph=True)
        for y in (out.features, there)
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@covers(ops.indice_conv, None)
@covers(ops.indice_conv_backward, None)
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('name', LAYERS)
def test_a_layer_is_that_of_a_dense_grid(name, training):
    features, sites = cloud()
    features.requires_grad_()
    layer = LAYERS[name].train(training)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = spconv.SparseConvTensor(features, sites, [SIDE] * 3, 2)
    out = layer(x)
    whole = dense(layer, x.dense())
    assert list(whole.shape[2:]) == list(out.spatial_shape)
    # In evaluation spconv's bias is a constant.
    wanted = layer.parameters() if training else [layer.weight]
    check(out, whole, [features, *wanted])


def test_an_inverse_layer_goes_back_along_the_pairs():
    features, sites = cloud()
    there = spconv.SparseConv3d(3, 4, 3, 2, padding=1, indice_key='a')
    back = spconv.SparseInverseConv3d(4, 5, 3, indice_key='a', bias=False)
    x = spconv.SparseConvTensor(features, sites, [SIDE] * 3, 2)
    middle = there(x)
    inputs = middle.features.detach().requires_grad_()
    out = back(middle.replace_feature(inputs))
    assert out.indices.equal(sites)
    weight = back.weight.permute(4, 0, 1, 2, 3)  # (in, out, *kernel)
    whole = functional.conv_transpose3d(
        middle.replace_feature(inputs).dense(), weight, None, 2, 1
    )
    check(out, whole, [inputs, back.weight])


def test_one_model_has_one_output():
    """With two threads spconv's own sums came out otherwise 2 times in 100."""
    model, x = network(spconv), cloud()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            first = model(*x)
            assert all(torch.equal(model(*x), first) for _ in range(300))
    finally:
        torch.set_num_threads(threads)


def test_a_fused_activation_is_refused():
    layer = SparseConvolution(
        3, 3, 4, 3, subm=True, act_type=tv.gemm.Activation.ReLU
    )
    features, sites = cloud()
    x = spconv.SparseConvTensor(features, sites, [SIDE] * 3, 2)
    with pytest.raises(ValueError, match='a module of its own'):
        layer.eval()(x)
