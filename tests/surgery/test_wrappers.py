"""Wrappers are taken off; what cannot be traced is refused in words."""

import warnings

import pytest
import torch
from torch import distributed, nn
from torch.nn.utils import prune

import chex_mm


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 1))


X = torch.randn(2, 3, 8, 8)
HALF = {'0': torch.arange(8) % 2 == 0}


@pytest.fixture
def one_process(tmp_path):
    distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/met', rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


def compiled(model):
    return torch.compile(model, backend='eager')


def distributed_compiled(model):
    return nn.parallel.DistributedDataParallel(compiled(model))


@pytest.mark.parametrize(
    'wrapper',
    [
        compiled,
        nn.DataParallel,
        nn.parallel.DistributedDataParallel,
        distributed_compiled,
    ],
)
def test_wrappers_are_taken_off(wrapper, one_process):
    model = plain()
    wrapped = wrapper(model)
    graph = chex_mm.trace_channels(wrapped, (X,))
    assert {n: g.size for n, g in graph.free.items()} == {'0': 8}
    narrow = chex_mm.slim(wrapped, graph, HALF)
    assert isinstance(narrow, nn.Sequential)
    budget = chex_mm.Budget('channels', 0.5)
    with pytest.raises(ValueError, match=r'its `\.module`.*`\._orig_mod`'):
        chex_mm.ChannelExplorer(wrapped, graph, budget, 1)
    chex_mm.mask_channels(wrapped, graph, HALF)
    expected = chex_mm.slim(model, graph, HALF)(X)
    torch.testing.assert_close(model(X), expected)


def test_a_model_that_compiles_itself_is_traced():
    model = plain()
    model.compile(backend='eager')
    assert list(chex_mm.trace_channels(model, (X,)).free) == ['0']


def pruned():
    model = plain()
    prune.l1_unstructured(model[2], 'weight', 0.3)
    return model


def old(norm):
    model = plain()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        norm(model[0])
    return model


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return torch.jit.script(plain())


def computed():
    model = plain()
    model[1].scale = model[0].weight.mean()
    return model


def lazy():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.LazyConv2d(3, 1))


def quantised():
    kind = type(
        'Conv2d', (nn.Identity,), {'__module__': 'torch.ao.nn.quantized.conv'}
    )
    return nn.Sequential(nn.Conv2d(3, 8, 3), kind())


@pytest.mark.filterwarnings('ignore:Lazy modules')
@pytest.mark.parametrize(
    ('build', 'text'),
    [
        (scripted, 'The model is a .* made by torch.jit.*before it is script'),
        (pruned, r"2 is a Conv2d under .*prune \('weight'\).*prune\.remove\("),
        (lambda: old(nn.utils.weight_norm), '0 is a .*remove_weight_norm'),
        (lambda: old(nn.utils.spectral_norm), '0 is a .*remove_spectral'),
        (computed, "1 is a ReLU with a tensor 'scale'"),
        (lazy, '1 is a LazyConv2d with .*no shape yet.*Run the model once'),
        (quantised, '1 is a Conv2d with packed .*before it is quantised'),
    ],
)
def test_what_cannot_be_traced_is_refused(build, text):
    with pytest.raises(chex_mm.ChexError, match=text):
        chex_mm.trace_channels(build(), (X,))
