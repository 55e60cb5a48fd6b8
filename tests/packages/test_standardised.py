"""Kernels standardised over all that they read, in narrow models."""

import copy
import io
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from mmcv.cnn.bricks.conv_ws import ConvAWS2d, ConvWS2d, conv_ws_2d
from mmcv.ops.saconv import SAConv2d
from torch import nn

import chex_mm.engine
from chex_mm.deploy.slim_directory import MODELS
from chex_mm.surgery import SlimSpec, describe, narrow_

from ..test_exact import check_cut, some_masks
from ..test_executions import check_executions

KINDS = {
    'ws': (ConvWS2d, {}),
    'ws_grouped': (ConvWS2d, dict(groups=4)),
    'ws_depthwise': (ConvWS2d, dict(groups=16)),
    'aws': (ConvAWS2d, {}),
    'aws_grouped': (ConvAWS2d, dict(groups=4)),
    'sac': (SAConv2d, {}),
    'sac_grouped': (SAConv2d, dict(groups=4)),
    'sac_deformable': (SAConv2d, dict(use_deform=True)),
}
COUNTED = sorted(KINDS.keys() - {'sac_deformable'})
NORMS = {
    'batch': lambda: nn.BatchNorm2d(16),
    'group': lambda: nn.GroupNorm(8, 16),
    'none': nn.Identity,
}


class Net(nn.Module):
    """A standardised convolution between two others."""

    def __init__(self, kind, norm='batch', activation=nn.ReLU):
        super().__init__()
        convolution, settings = KINDS[kind]
        self.a = nn.Conv2d(3, 16, 3)
        self.norm, self.activation = NORMS[norm](), activation()
        self.b = convolution(16, 16, 3, padding=1, **settings)
        self.c = nn.Conv2d(16, 5, 1)

    def forward(self, x):
        return self.c(self.b(self.activation(self.norm(self.a(x)))).relu())


def build(*args, **settings):
    """The network with random numbers everywhere."""
    torch.manual_seed(0)
    model = Net(*args, **settings).eval()
    for name, tensor in model.state_dict().items():
        if name.endswith(('running_var', 'weight_gamma')):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point() and tensor.max() == tensor.min():
            tensor.normal_(0, 0.1)
    return model


INPUTS = torch.randn(2, 3, 10, 10, generator=torch.Generator().manual_seed(1))


def cut(model, seed=0):
    """(masked, narrow), of the same random masks."""
    graph = chex_mm.trace_channels(model, (INPUTS.to(model.a.weight),))
    keep = some_masks(graph, seed)
    masked = copy.deepcopy(model)
    chex_mm.mask_channels(masked, graph, keep)
    return masked, chex_mm.slim(model, graph, keep)


@torch.no_grad()
def gap(one, other):
    x = INPUTS.to(one.a.weight)
    expected, found = one(x), other(x)
    assert expected.shape == found.shape
    return float((expected - found).abs().max())


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('kind', KINDS)
def test_masked_and_narrow_agree(kind, norm):
    model = build(kind, norm).double()
    for seed in range(3):
        masked, narrow = cut(model, seed)
        assert narrow.b.weight.shape != model.b.weight.shape
        assert gap(masked, narrow) < 1e-12


@pytest.mark.parametrize('kind', COUNTED)
def test_it_costs_what_the_graph_says(kind):
    graph = check_cut(build(kind), INPUTS, seed=0)
    assert 'a' in graph.free and graph.unknown_ops == ()


@pytest.mark.parametrize('kind', KINDS)
def test_executions_train_the_same(kind):
    check_executions(build(kind).train(), INPUTS, seed=1)


@pytest.mark.parametrize('kind', ['ws', 'aws', 'sac'])
def test_what_does_not_vanish_is_pinned(kind):
    model = build(kind, activation=nn.Sigmoid)
    graph = chex_mm.trace_channels(model, (INPUTS,))
    assert graph.groups['a'].pinned == (
        'aten.convolution.default in b has a computed weight that is not '
        'zero where its channels are masked'
    )
    assert set(graph.free) == {'b'}


def test_modules_that_only_look_alike_are_pinned():
    class Own(ConvWS2d):
        """Could compute anything."""

    model = build('ws')
    model.b.__class__ = Own
    graph = chex_mm.trace_channels(model, (INPUTS,))
    assert 'aten.mean.dim in b reduces' in graph.groups['a'].pinned


def test_dense_modules_are_those_of_mmcv():
    torch.manual_seed(0)
    plain, adaptive = ConvWS2d(8, 4, 3), ConvAWS2d(8, 4, 3)
    x = torch.randn(1, 8, 5, 5)
    expected = conv_ws_2d(x, plain.weight, plain.bias)
    assert torch.equal(plain(x), expected)
    stock = ConvAWS2d._get_weight.__wrapped__
    found = adaptive._get_weight(adaptive.weight)
    assert torch.equal(found, stock(adaptive, adaptive.weight))
    assert list(plain.state_dict()) == ['weight', 'bias']
    assert 'missing_columns' not in vars(plain)


@pytest.mark.parametrize('kind', KINDS)
def test_plain_data_tell_the_narrow_model(kind):
    model = build(kind)
    _, narrow = cut(model)
    text = json.dumps(describe(model, narrow).channels)
    again = narrow_(Net(kind).eval(), SlimSpec(json.loads(text)))
    again.load_state_dict(narrow.state_dict())
    assert gap(narrow, again) == 0
    missing = narrow.b.missing_columns
    assert missing == model.b.weight.shape[1] - narrow.b.weight.shape[1]
    assert bool(missing) == (kind != 'ws_depthwise')


@pytest.mark.parametrize('kind', ['ws_grouped', 'aws'])
def test_a_narrow_model_is_cut_once_more(kind):
    masked, narrow = cut(build(kind).double())
    # Channels that are masked but still there count no more than others.
    graph = chex_mm.trace_channels(narrow, (INPUTS.double(),))
    keep = some_masks(graph, seed=5)
    chex_mm.mask_channels(narrow, graph, keep)
    narrower = chex_mm.slim(narrow, graph, keep)
    assert narrower.b.missing_columns > narrow.b.missing_columns
    assert gap(narrow, narrower) < 1e-12


@pytest.mark.parametrize('kind', ['ws', 'sac'])
def test_copies_and_exports_compute_the_same(kind):
    _, narrow = cut(build(kind))
    assert gap(narrow, copy.deepcopy(narrow)) == 0
    assert gap(narrow, torch.jit.trace(narrow, INPUTS)) < 1e-6


# Torch's older exporter warns of itself, and of a constant it cannot fold.
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.filterwarnings('ignore:Constant folding')
@pytest.mark.parametrize('kind', ['ws', 'sac'])
def test_onnx(kind):
    pytest.importorskip('onnx')
    runtime = pytest.importorskip('onnxruntime')
    _, narrow = cut(build(kind))
    file = io.BytesIO()
    torch.onnx.export(narrow, (INPUTS,), file, dynamo=False)
    session = runtime.InferenceSession(file.getvalue())
    name = session.get_inputs()[0].name
    (found,) = session.run(None, {name: INPUTS.numpy()})
    expected = narrow(INPUTS).detach()
    assert (expected - torch.from_numpy(found)).abs().max() < 1e-4


ALONE = """
import mmcv.cnn
import torch
from slim_model import standalone_slim_model

model = standalone_slim_model(
    dict(type={kind!r}, in_channels=8, out_channels=4, kernel_size=3),
    {{'': dict(in_channels=5, missing_columns=3, weight=[4, 5, 3, 3])}},
)
given = torch.load('given.pth')
model.load_state_dict(given['state'])
assert torch.allclose(model(given['x']), given['expected'], atol=1e-6)
"""


@pytest.mark.parametrize('kind', ['ConvWS', 'ConvAWS'])
def test_without_chex_mm(kind, tmp_path):
    dense = {'ConvWS': ConvWS2d, 'ConvAWS': ConvAWS2d}[kind](8, 4, 3)
    dense.weight.data[:, 5:] = 0
    x = torch.randn(1, 8, 5, 5)
    x[:, 5:] = 0
    state = dense.state_dict()
    state['weight'] = state['weight'][:, :5]
    given = dict(state=state, x=x[:, :5], expected=dense(x).detach())
    torch.save(given, tmp_path / 'given.pth')
    shutil.copy(MODELS / 'standalone.py', tmp_path / 'slim_model.py')
    shutil.copy(MODELS / 'slim_kernels.py', tmp_path)
    (tmp_path / 'chex_mm.py').write_text("raise ImportError('not here')")
    subprocess.run(
        [sys.executable, '-c', ALONE.format(kind=kind)],
        env={**os.environ, 'PYTHONPATH': '.'},
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
