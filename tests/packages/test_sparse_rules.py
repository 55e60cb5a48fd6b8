"""Sparse convolutions of mmcv and of spconv: labels, cuts and their cost."""

import copy
from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

spconv = pytest.importorskip('spconv.pytorch', reason='needs spconv')
mmcv_ops = pytest.importorskip('mmcv.ops', reason='needs mmcv with operators')

from mmcv.ops import sparse_functional  # noqa: E402
from spconv.pytorch import functional  # noqa: E402

from chex_mm import mask_channels, slim, trace_channels  # noqa: E402
from chex_mm.engine.explored_checkpoint import load_weights  # noqa: E402
from chex_mm.graph.groups import Role  # noqa: E402
from chex_mm.packages.sparse import (  # noqa: E402
    list_all_pairs,
    list_half_of_pairs,
    table_pairs,
)
from chex_mm.submodel.weights import channel_weights  # noqa: E402
from chex_mm.surgery import compare, describe, narrow_  # noqa: E402
from chex_mm.trace.cuts import random_masks  # noqa: E402

from ..trace.cases import Given, Parameter, outcome  # noqa: E402
from .kernel_calls import Kernel  # noqa: E402
from .sparse_networks import (  # noqa: E402
    SIDE,
    WIDTHS,
    cloud,
    count_pairs,
    network,
)

# What both packages do to make a sparse tensor dense.
pytestmark = pytest.mark.filterwarnings('ignore:Using a non-tuple sequence')

SITES = 6
X = Given((1, 2, 3, 4), (SITES, 4))
# A parameter has labels 200 along dim 0, those of others are new ones.
OURS = dict(
    shape=(3, 2, 2, 2, 4), rows=(200, 201, 202), columns=range(1000, 1004)
)
THEIRS = dict(
    shape=(2, 2, 2, 4, 3), rows=(1000, 1001, 1002), columns=range(1003, 1007)
)
CONVOLUTIONS = {
    sparse_functional.SparseConvFunction: THEIRS,
    sparse_functional.SparseInverseConvFunction: THEIRS,
    sparse_functional.SubMConvFunction: THEIRS,
    functional.SparseConvFunction: OURS,
    functional.SparseInverseConvFunction: OURS,
    functional.SubMConvFunction: OURS,
    functional.SparseImplicitGemmFunction: OURS,
}
POOLS = {
    sparse_functional.SparseMaxPoolFunction: (SITES, 4),
    functional.SparseMaxPoolFunction: (SITES, 4),
    functional.SparseMaxPoolImplicitGemmFunction: (SITES, 4),
    functional.SparseAvgPoolImplicitGemmFunction: ((SITES, 4), (SITES,)),
}
PAIRS = torch.tensor([1, 2, 0, 4, 3], dtype=torch.int32)
MORE = dict(
    indice_pair_num=PAIRS,
    num_activate_out=SITES,
    pair_fwd=torch.tensor([[0, -1, 2], [-1, -1, 1]]),
)


def name(function):
    return f'{function.__module__.partition(".")[0]}-{function.__name__}'


@pytest.mark.parametrize('function', CONVOLUTIONS, ids=name)
def test_a_convolution_ties_what_it_reads_and_labels_what_it_makes(function):
    case = CONVOLUTIONS[function]
    kernel = Kernel(function, MORE, (SITES, 3))
    found = outcome(kernel, X, Parameter(case['shape']))
    assert found.unknown == () and found.pins == {}
    expected = torch.tensor(case['rows']).expand(SITES, 3)
    assert torch.equal(found.labels[0], expected)
    assert found.ties == set(zip((1, 2, 3, 4), case['columns']))


@pytest.mark.parametrize('function', POOLS, ids=name)
def test_a_pool_keeps_channels(function):
    found = outcome(Kernel(function, MORE, POOLS[function]), X)
    expected = torch.tensor([1, 2, 3, 4]).expand(SITES, 4)
    assert torch.equal(found.labels[0], expected)
    assert not any(labels.any() for labels in found.labels[1:])
    assert found.ties == set() and found.pins == {} and found.unknown == ()


def test_pairs_of_sites_are_counted_as_each_kernel_map_lists_them():
    assert list_all_pairs(MORE) == 10
    assert list_half_of_pairs(MORE) == 2 * (1 + 2) + SITES
    assert table_pairs(MORE) == 3


@pytest.fixture(params=['spconv', 'mmcv'])
def package(request):
    return spconv if request.param == 'spconv' else mmcv_ops


@pytest.fixture
def traced(package):
    model = network(package)
    return model, trace_channels(model, cloud(), strict=True)


def test_groups_of_a_sparse_network(traced):
    model, graph = traced
    assert {
        n: (g.size, g.pinned is None) for n, g in graph.groups.items()
    } == {
        'layers.0.input': (WIDTHS[0], False),
        'layers.0': (WIDTHS[1], True),
        'layers.3': (WIDTHS[2], True),
        'layers.6': (WIDTHS[3], True),
        'flat': (4, False),
    }
    # Both levels of the pooled map are of one channel.
    (columns,) = graph.groups['layers.6'].with_role(Role.COLUMN)
    expected = torch.arange(2 * WIDTHS[3]).view(WIDTHS[3], 2)
    assert torch.equal(columns.index, expected)
    (rows,) = graph.groups['layers.3'].with_role(Role.ROW)
    weights = channel_weights(model.layers[3].weight, rows)
    assert weights.shape == (WIDTHS[2], 1, 27 * WIDTHS[1])


def test_a_sparse_network_is_cut_exactly(traced):
    model, graph = traced
    keep = random_masks(graph)
    narrow = slim(model, graph, keep)
    masked = copy.deepcopy(model)
    mask_channels(masked, graph, keep)
    found = compare(masked, narrow, lambda m: m(*cloud(seed=1)))
    assert found.max_rel < 1e-5
    counts = graph.counts(keep)
    layers = {n: narrow.layers[n] for n in (0, 3, 6)}
    assert {n: (m.in_channels, m.out_channels) for n, m in layers.items()} == {
        0: (WIDTHS[0], counts['layers.0']),
        3: (counts['layers.0'], counts['layers.3']),
        6: (counts['layers.3'], counts['layers.6']),
    }
    fresh = narrow_(copy.deepcopy(model), describe(model, narrow))
    fresh.load_state_dict(narrow.state_dict())
    assert torch.equal(fresh(*cloud()), narrow(*cloud()))


def test_multiply_adds_are_those_of_the_pairs_of_sites(traced):
    model, graph = traced
    _, sites = cloud()
    flat, _ = count_pairs(sites)
    strided, outputs = count_pairs(sites, stride=2)
    assert len(outputs) > 1
    first, second, third, fourth = WIDTHS
    expected = Counter(
        {
            'layers.0': flat * first * second,
            'layers.3': strided * second * third,
            'layers.6': strided * third * fourth,
            'flat': 2 * (SIDE // 2) ** 2 * 4 * fourth * (SIDE // 2),
        }
    )
    found = Counter()
    for work in graph.work:
        found[work.module] += work.flops(graph.counts())
    assert found == expected


def test_multiply_adds_are_those_of_an_independent_counter():
    model = network(spconv)
    graph = trace_channels(model, cloud())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*cloud())
    assert graph.flops() == counter.get_total_flops() // 2


@pytest.mark.skipif(torch.cuda.is_available(), reason='of a CPU without CUDA')
@pytest.mark.parametrize('kind', ['SubMConv3d', 'SparseConv3d'])
def test_spconv_trains_on_the_cpu(kind):
    features, sites = cloud()
    layer = getattr(spconv, kind)(3, 4, 3, padding=1, bias=False)
    features.requires_grad_()
    x = spconv.SparseConvTensor(features, sites, [SIDE] * 3, 2)
    out = layer(x)
    given = torch.randn(out.features.shape)
    (out.features * given).sum().backward()
    found = features.grad.clone(), layer.weight.grad.clone()
    features.grad = layer.weight.grad = None
    dense = nn.functional.conv3d(
        x.dense(), layer.weight.permute(0, 4, 1, 2, 3), padding=1
    )
    batch, *place = out.indices.long().T
    there = dense[batch, :, place[0], place[1], place[2]]
    assert torch.allclose(there, out.features, atol=1e-5)
    (there * given).sum().backward()
    for one, other in zip(found, (features.grad, layer.weight.grad)):
        assert torch.allclose(one, other, atol=1e-5)


def test_weights_of_a_checkpoint_keep_the_layout_of_spconv():
    """mmdet3d turns weights around that come without their version."""
    pytest.importorskip('mmdet3d.models', reason='needs mmdet3d')
    model, other = network(spconv), network(spconv)
    nn.init.zeros_(other.layers[0].weight)
    load_weights(other, model.state_dict(), 'checkpoint')
    assert torch.equal(other.layers[0].weight, model.layers[0].weight)
