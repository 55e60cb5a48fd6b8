"""Exported files give the outputs of their models, at any batch, or are not.

The detectors of the ready configs, small: cut at random, as a slim model is.
"""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from torch import nn

from chex_mm import ChexError, slim
from chex_mm.adopt.analysis import draw_vectors, random_keep
from chex_mm.budget.allocation import uniform_counts
from chex_mm.budget.budgets import Budget
from chex_mm.cli.command_line import load_config
from chex_mm.deploy import export as exporting
from chex_mm.deploy.dense_part import DensePart, Part, dense_parts
from chex_mm.deploy.export import MOST_APART, OnnxModel, export
from chex_mm.deploy.export_report import Options, export_detector
from chex_mm.deploy.slim_directory import slim_config
from chex_mm.deploy.slimming import build_model
from chex_mm.packages.paths import generated_batch, trace_detector
from chex_mm.surgery import describe

from ..engine import small_detectors
from ..engine.stock_detectors import small

pytest.importorskip('onnxruntime')
pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in (
        'torch.meshgrid',
        '`torch.cuda.amp',
        'Unnecessary conv bias',
        'dir_offset and dir_limit_offset',
        'DeprecationWarning',
        'Using torch.cross without',
        'Using a non-tuple sequence',
        'To copy construct from a tensor',
    )
]
ROOT = Path(__file__).parents[2]
SIDE = 128
READY = sorted((ROOT / 'configs/mmdet').glob('*/*chex-50*.py'))
FORMS = ('onnx', 'torchscript')


def parts_of(name):
    config, model = small(name)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        return model, dense_parts(model.eval(), config, (SIDE, SIDE))


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(n, marks=[] if n == 'rtmdet' else pytest.mark.slow)
        for n in small_detectors.DETECTORS
    ],
)
def test_detectors_on_images(name, tmp_path):
    model, parts = parts_of(name)
    for part in parts:
        for form in FORMS:
            found = export(part, tmp_path / f'{part.name}.{form}', form)
            assert found.max_rel < MOST_APART
    x = parts[0].example(2)
    if not hasattr(model, 'roi_head'):
        own = model.eval()(x, mode='tensor')
        flat = [t for level in own for t in level]
        ours = parts[0].module(x)
        assert all(torch.equal(a, b) for a, b in zip(flat, ours))
        assert len(flat) == len(ours) == len(parts[0].names)


@pytest.mark.slow
@pytest.mark.parametrize('path', READY, ids=lambda path: path.stem)
def test_ready_configs_in_full_size(path, tmp_path):
    config = load_config(str(path))
    shape = (300, 300) if 'ssd' in path.stem else (160, 160)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = revert_sync_batchnorm(build_model(config))
        draw_vectors(model)
        parts = dense_parts(model.eval(), config, shape)
    assert [part.name for part in parts][0] == 'dense'
    for part in parts:
        found = export(part, tmp_path / f'{part.name}.onnx')
        assert found.max_rel < MOST_APART


def test_there_are_ready_configs():
    assert len(READY) == 5


@pytest.mark.parametrize(
    'name', ['pointpillars', pytest.param('second', marks=pytest.mark.slow)]
)
def test_voxel_detectors_from_the_map_on(name, tmp_path):
    _, (dense,) = parts_of(name)
    channels, height, width = dense.shape
    assert height == 64 or name == 'second'
    assert dense.names == ('output.0.0', 'output.1.0', 'output.2.0')
    for form in FORMS:
        found = export(dense, tmp_path / f'dense.{form}', form)
        assert found.max_rel < MOST_APART


@pytest.mark.slow
def test_outputs_in_dictionaries_are_named_by_their_keys(tmp_path):
    _, (dense,) = parts_of('centerpoint_pillar')
    assert 'output.0.0.heatmap' in dense.names
    found = export(dense, tmp_path / 'dense.onnx')
    assert found.max_rel < MOST_APART


@pytest.mark.parametrize('name', ['votenet', 'dgcnn'])
def test_what_takes_points_is_refused(name):
    with pytest.raises(ChexError) as error:
        parts_of(name)
    said = str(error.value)
    if name == 'votenet':
        assert said.startswith('PointNet2SASSG (dense) takes (1, 40000, 4), n')
        assert 'on points have no operator in ONNX' in said
    else:
        assert 'has no backbone with a dense head' in said


def linear(shift=0.0):
    """A part with the simplest module there is."""
    module = nn.Conv2d(2, 3, 1)
    with torch.no_grad():
        module.bias.add_(shift)
    dense = DensePart([module]).eval()
    return Part('dense', dense, ('output',), (2, 4, 4))


def test_a_file_with_other_outputs_is_refused(tmp_path, monkeypatch):
    def write_another(part, path, opset):
        exporting.write_onnx(linear(shift=0.01), path, opset)

    forms = {'onnx': (write_another, OnnxModel, '.onnx')}
    monkeypatch.setattr(exporting, 'FORMATS', forms)
    with pytest.raises(ChexError, match='more than 1e-04 is allowed, so'):
        export(linear(), tmp_path / 'a.onnx')


def test_a_batch_that_is_a_constant_is_refused(tmp_path):
    class Fixed(nn.Module):
        def forward(self, x):
            return x.reshape(int(x.shape[0]), -1)[: torch.tensor(2)]

    part = Part('dense', DensePart([Fixed()]), ('output',), (2, 4, 4))
    with pytest.raises(ChexError, match='inf'):
        export(part, tmp_path / 'a.onnx')


def test_an_operator_without_a_symbol_is_named(tmp_path):
    class Strange(nn.Module):
        def forward(self, x):
            return torch.special.i1(x)

    part = Part('dense', DensePart([Strange()]), ('output',), (2, 4, 4))
    with pytest.raises(ChexError) as error:
        export(part, tmp_path / 'a.onnx')
    said = str(error.value)
    assert said.startswith('dense cannot be written as onnx: Unsupported')
    assert 'special_i1' in said and '\n' not in said


def test_packages_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(exporting, 'NEEDS_ONNX', ('onnx', 'no_such_package'))
    with pytest.raises(ChexError) as error:
        exporting.check_installed('onnx')
    assert 'ONNX needs no_such_package. Install the extra' in str(error.value)
    assert exporting.check_installed('torchscript') is None


@pytest.fixture(scope='module')
def slimmed(tmp_path_factory):
    """Config and weights of a Faster R-CNN that was cut at random."""
    config, model = small('faster_rcnn')
    with DefaultScope.overwrite_default_scope('mmdet'):
        batch = generated_batch(model, (3, SIDE, SIDE), config)
        graph = trace_detector(model, batch)
    counts = uniform_counts(graph, Budget('flops', 0.5), divisor=2)
    keep = random_keep(graph, counts, torch.Generator().manual_seed(0))
    narrow = slim(model, graph, keep)
    folder = tmp_path_factory.mktemp('slim')
    channels = dict(describe(model, narrow).channels)
    slim_config(config, channels).dump(folder / 'slim_config.py')
    torch.save({'state_dict': narrow.state_dict()}, folder / 'slim.pth')
    return folder


def run(folder, out, **options):
    settings = dict(shape=(SIDE, SIDE), repeats=1, batches=(1, 2))
    config = Config.fromfile(folder / 'slim_config.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        return export_detector(
            config,
            str(folder / 'slim.pth'),
            out,
            Options(**{**settings, **options}),
        )


def test_a_two_stage_detector_is_two_files(slimmed, tmp_path):
    report = run(slimmed, tmp_path / 'det.onnx')
    assert {path.name for path in tmp_path.iterdir()} == {
        'det.onnx',
        'det.roi_head.bbox_head.onnx',
        'det.json',
    }
    assert json.loads((tmp_path / 'det.json').read_text()) == report
    assert report['opset'] == 17 and report['left_out'] == []
    assert report['image']['channels'] == 'RGB'
    dense = report['files']['det.onnx']
    assert dense['input'] == ['batch', 3, SIDE, SIDE]
    assert list(dense['outputs'])[::5] == [
        'feature.0',
        'output.0.0',
        'output.1.0',
    ]
    regions = report['files']['det.roi_head.bbox_head.onnx']
    assert regions['input'][2:] == [7, 7]
    # The cut is in the file: fewer channels than the neck's 16.
    assert regions['input'][1] == dense['outputs']['feature.0'][1] < 16
    times = report['latency_ms']
    assert list(times) == ['1', '2']
    assert set(times['1']) == {
        f'{model} {runtime}'
        for model in ('slim', 'dense')
        for runtime in ('PyTorch', 'onnxruntime')
    }


def test_nothing_is_left_behind_by_what_fails(slimmed, tmp_path, monkeypatch):
    kept = exporting.write_onnx

    def fail_on_regions(part, path, opset):
        if part.name != 'dense':
            raise RuntimeError('no')
        kept(part, path, opset)

    forms = {'onnx': (fail_on_regions, OnnxModel, '.onnx')}
    monkeypatch.setattr(exporting, 'FORMATS', forms)
    with pytest.raises(ChexError, match='roi_head.bbox_head cannot be writ'):
        run(slimmed, tmp_path / 'det.onnx', repeats=0)
    assert list(tmp_path.iterdir()) == []


def test_files_that_exist_stay(slimmed, tmp_path):
    (tmp_path / 'det.roi_head.bbox_head.pt').touch()
    with pytest.raises(ChexError, match='det.roi_head.bbox_head.pt exists'):
        run(slimmed, tmp_path / 'det.pt', form='torchscript', repeats=0)
    assert len(list(tmp_path.iterdir())) == 1
