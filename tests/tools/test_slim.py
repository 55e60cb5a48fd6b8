"""tools/slim.py on real detectors: what it writes runs in fresh processes."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import mmdet
import numpy as np
import pytest
import torch
from mmengine.config import Config

from chex_mm.engine.datasets import write_shapes

from ..engine.small_detectors import small_config
from .test_command_line import ROOT, command

SHAPES = ROOT / 'configs/_base_/datasets/shapes_instance.py'
STOCK = Path(mmdet.__file__).parent / '.mim/tools/test.py'
pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in ('torch.meshgrid', '`torch.cuda.amp')
]


def write_config(name, folder):
    """A run of a small detector on a few shapes, as a config file."""
    config = small_config(name)
    data = Config.fromfile(SHAPES)
    for key in ('train_dataloader', 'test_dataloader'):
        config[key] = data[key]
        config[key].dataset.data_root = str(folder / 'shapes') + '/'
        config[key].batch_size = 2
    evaluator = dict(
        type='CocoMetric',
        ann_file=str(folder / 'shapes/val.json'),
        metric='bbox',
    )
    run = dict(
        test_evaluator=evaluator,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=6),
        param_scheduler=[],
        custom_imports=dict(imports=['chex_mm.engine']),
        custom_hooks=[
            dict(
                type='CHEXHook',
                budget=dict(type='flops', keep=0.6),
                divisor=2,
                steps=2,
            )
        ],
    )
    for key, value in run.items():
        config[key] = value
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):
        config.pop(key)
    config.default_hooks.checkpoint.update(by_epoch=False, interval=6)
    config.log_processor.by_epoch = False
    config.dump(folder / 'run.py')
    return folder / 'run.py'


@pytest.fixture(scope='module', params=['retinanet', 'ssd'])
def folder(request, tmp_path_factory):
    """A folder with data, a config, a checkpoint and what slim.py writes."""
    folder = tmp_path_factory.mktemp(request.param)
    write_shapes(folder / 'shapes', {'train': 8, 'val': 3})
    config = write_config(request.param, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        command(patch, 'train.py', config, '--work-dir', folder / 'work')
        trained = [config, folder / 'work/iter_6.pth']
        command(patch, 'slim.py', *trained, '--out', folder / 'slim')
    return folder


def predictions(folder, script, config, checkpoint, path):
    """Scores of every test image, from a fresh process."""
    found = folder / f'{config.stem}.pkl'
    work = ['--work-dir', str(folder / 'tested'), '--out', str(found)]
    done = subprocess.run(
        [sys.executable, str(script), str(config), str(checkpoint), *work],
        env={**os.environ, 'PYTHONPATH': str(path), 'OMP_NUM_THREADS': '1'},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'coco/bbox_mAP' in done.stdout
    return [
        image['pred_instances']['scores'].sort(descending=True).values
        for image in pickle.loads(found.read_bytes())
    ]


def same(one, other):
    return all(
        len(a) == len(b) > 0 and np.allclose(a, b, atol=1e-5)
        for a, b in zip(one, other)
    )


@pytest.mark.slow
def test_both_variants_evaluate_in_fresh_processes(folder):
    blocked = folder / 'blocked'
    blocked.mkdir()
    (blocked / 'chex_mm.py').write_text("raise ImportError('not here')")
    slim, test = folder / 'slim', ROOT / 'tools/test.py'
    masked = predictions(
        *(folder, test, folder / 'run.py', folder / 'work/iter_6.pth', ROOT)
    )
    assert len(masked) == 3
    with_tool = predictions(
        *(folder, test, slim / 'slim_config.py', slim / 'slim.pth', ROOT)
    )
    assert same(masked, with_tool)
    # Handed on: the folder has another name there.
    slim = slim.rename(folder / 'received')
    alone = predictions(
        folder,
        STOCK,
        slim / 'standalone_config.py',
        slim / 'slim.pth',
        blocked,
    )
    assert same(masked, alone)
    slim.rename(folder / 'slim')


@pytest.mark.slow
def test_the_report_tells_what_was_saved(folder):
    report = json.loads((folder / 'slim/report.json').read_text())
    share = report['flops']['slim'] / report['flops']['dense']
    assert 0.5 < share <= 0.6
    assert report['file_bytes']['slim'] < report['file_bytes']['dense']
    assert report['max_abs_diff'] < 1e-4
    weights = torch.load(folder / 'slim/slim.pth', weights_only=True)
    tensors = weights['state_dict'].values()
    assert report['params']['slim'] < sum(map(torch.numel, tensors))
    assert weights['meta']['dataset_meta']['classes'][0] == 'disc'


@pytest.mark.slow
def test_what_it_refuses(folder, monkeypatch, capsys):
    def said(checkpoint, out, *more):
        arguments = [folder / 'run.py', checkpoint, '--out', folder / out]
        with pytest.raises(SystemExit) as stopped:
            command(monkeypatch, 'slim.py', *arguments, *more)
        assert stopped.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    trained = folder / 'work/iter_6.pth'
    assert said(trained, 'slim') == (
        f'error: {folder}/slim exists; pass --overwrite to replace it.'
    )
    absent = '--cfg-options', 'test_dataloader.dataset.ann_file=absent.json'
    text = said(trained, 'other', *absent)
    assert text.startswith('error: The data of test_dataloader cannot be read')
    assert text.endswith("shapes/absent.json'")
    wider = '--cfg-options', 'model.bbox_head.num_classes=5'
    assert 'is a checkpoint of another model: bbox_head.' in said(
        trained, 'other', *wider
    )
    assert said(trained, 'other', '--images=0') == (
        'error: --images must be 1 or more.'
    )
    assert 'there is no checkpoint file' in said(folder / 'no.pth', 'other')
    torch.save(dict(state_dict={}), folder / 'plain.pth')
    assert "holds no exploration state ('chex')" in said(
        folder / 'plain.pth', 'other'
    )
    (folder / 'cut.pth').write_bytes(b'PK' + bytes(50))
    assert 'cut.pth is not a readable checkpoint: ' in said(
        folder / 'cut.pth', 'other'
    )
    assert 'is not a writable directory' in said(trained, 'run.py/slim')
    assert not (folder / 'other').exists()
