"""Architectures come from configs and from torchvision alike."""

from unittest.mock import patch

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from benchmarks.zoo import sources
from benchmarks.zoo import verdict as zoo
from benchmarks.zoo.sources import (
    from_config,
    make,
    why_not_runnable,
    with_few_regions,
)
from chex_mm.cli.command_line import load_config
from chex_mm.deploy.slimming import build_model
from chex_mm.errors import ChexError
from chex_mm.packages.paths import generated_batch, training_batch

from ..engine.small_detectors import small_config
from ..engine.toy_runs import ToyNet, loader


def test_settings_count_few_and_the_architecture_stays():
    model = dict(
        backbone=dict(channels=256, strides=(1, 2)),
        train_cfg=dict(rcnn=[dict(sampler=dict(num=512, pos_fraction=0.25))]),
        test_cfg=dict(rpn=dict(nms_pre=1000, score_thr=0.05), debug=True),
    )
    cells = dict(train_cfg=dict(pts=dict(grid_size=[128, 128, 1])))
    assert with_few_regions(cells) == cells  # maps are as large as they are
    assert with_few_regions(model) == dict(
        backbone=dict(channels=256, strides=(1, 2)),
        train_cfg=dict(rcnn=[dict(sampler=dict(num=64, pos_fraction=0.25))]),
        test_cfg=dict(rpn=dict(nms_pre=64, score_thr=0.05), debug=True),
    )


def test_as_many_regions_as_queries_stay():
    model = dict(
        rpn_head=[dict(num_proposals=100)],
        test_cfg=dict(rcnn=dict(max_per_img=100), rpn=dict(num_kept=300)),
    )
    settings = with_few_regions(model)['test_cfg']
    assert settings == dict(rcnn=dict(max_per_img=100), rpn=dict(num_kept=64))


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (
            'carafe_forward_impl: implementation for device cpu:0 not found.',
            'mmcv has no CPU kernel of carafe_forward',
        ),
        (
            'Please follow `get_started.md` to install Minkowski Engine.`',
            'it needs Minkowski Engine, which is not installed',
        ),
        (
            'Cannot re-initialize CUDA in forked subprocess.',
            'it calls CUDA by name',
        ),
        (
            "No module named 'mmpretrain'",
            'it needs mmpretrain, which is not installed',
        ),
        (
            'transformers is not installed, please install it by: pip',
            'it needs transformers, which is not installed',
        ),
        (
            '<urlopen error [Errno -3] Temporary failure>',
            'it downloads weights of a language or vision model',
        ),
        (
            'batch_norm eps must be positive, but got 0',
            'torch refuses its batch norms, of which eps is 0',
        ),
        (
            'Please run "pip install openmim" and "mim install mmpretrain"',
            'it needs mmpretrain, which is not installed',
        ),
        (
            'Hugging Face hub model specified but package not installed. Run '
            '`pip install huggingface_hub`.',
            'it needs huggingface_hub, which is not installed',
        ),
        (
            'Invalid mode "predict".',
            'it learns without labels, and has no mode predict',
        ),
        (
            'Please install Detectron2 first',
            'it needs Detectron2, which is not installed',
        ),
        (
            "Failed to import custom modules from {'imports': "
            "['mmpretrain.models'], 'allow_failed_imports': False}, the",
            'it needs mmpretrain, which is not installed',
        ),
        (
            'Class values must be non-negative.',
            'mmdet has no focal loss of the label -1 on a CPU: Class values '
            'must be non-negative',
        ),
        (
            'CascadeRPNHead.__init__() missing 1 required positional '
            "argument: 'num_classes'",
            "the package's own config cannot be built: "
            'CascadeRPNHead.__init__() missing 1 required positional '
            "argument: 'num_classes",
        ),
        (
            "FPN.__init__() got an unexpected keyword argument 'other'",
            "the package's own config cannot be built: "
            "FPN.__init__() got an unexpected keyword argument 'other",
        ),
        (
            "'InstanceData' object has no attribute 'bboxes_3d'. Run",
            'its training pipeline packs no bboxes_3d',
        ),
        (
            'No scene can be generated: train_dataloader.dataset has no pipe',
            'its config, written for mmdet 2, has no train_dataloader to tell '
            'what it reads',
        ),
        (
            'three_nn needs points (B, N, 3) and centres',
            "mmdet3d's loss of it needs CUDA, which reads four columns as "
            'three',
        ),
        (
            'No scene can be generated for LoadMultiViewImageFromFiles: only',
            'the zoo generates clouds and single images, and it reads '
            'LoadMultiViewImageFromFiles',
        ),
        ('Torch not compiled with CUDA enabled', 'it calls CUDA by name'),
        ('mat1 and mat2 shapes cannot be multiplied', None),
    ],
)
def test_what_the_machine_lacks(text, reason):
    outer = ChexError('Detector fails in its loss path')
    outer.__cause__ = RuntimeError(text)
    assert why_not_runnable(outer) == reason
    assert why_not_runnable(RuntimeError(text)) == reason


def test_an_architecture_that_cannot_run_here_is_no_failure(monkeypatch):
    def build(name, side):
        raise ModuleNotFoundError("No module named 'fairscale'")

    monkeypatch.setattr(sources, '_torchvision_model', build)
    verdict = zoo.judge('x', lambda: make('torchvision', 'x', [32]))
    assert (verdict.status, verdict.reason) == (
        'not runnable',
        'it needs fairscale, which is not installed',
    )


def test_the_first_size_at_which_it_runs_is_taken(monkeypatch):
    sides = []

    def build(name, side):
        sides.append(side)
        if side < 100:
            raise ChexError(f'too small: {side}')
        return side

    monkeypatch.setattr(sources, '_torchvision_model', build)
    assert make('torchvision', 'x', [32, 64, 128, 256]) == 128
    assert sides == [32, 64, 128]
    with pytest.raises(ChexError, match='too small: 64'):
        make('torchvision', 'x', [32, 64])


def test_a_teacher_is_one_of_the_package_and_untrained():
    pytest.importorskip('mmdet')
    model = Config.fromstring(
        "model = dict(teacher_config='configs/gfl/gfl_r50_fpn_1x_coco.py', "
        "teacher_ckpt='https://example.org/x.pth')",
        '.py',
    ).model
    found = sources.with_untrained_teacher(model, 'mmdet')
    assert found.teacher_ckpt is None
    assert found.teacher_config.model.type == 'GFL'


@pytest.mark.parametrize(
    ('name', 'shape'),
    [
        ('masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50', (2, 3, 64, 64)),
        ('qdtrack/qdtrack_faster', (2, 3, 64, 64)),
    ],
)
def test_videos_for_a_tracker(name, shape):
    pytest.importorskip('mmdet')
    sources.prepare('mmdet')
    config = load_config(f'mmdet::{sources.names("mmdet", [name])[0]}')
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = build_model(config)
    batch = generated_batch(model, (3, 64, 64), config)
    assert [tuple(x.shape) for x in batch['inputs']] == [shape] * 2
    (first, second), _ = batch['data_samples']
    assert len(first.gt_instances.labels) and second.frame_id == 1


def test_a_student_and_its_teacher_are_refused():
    pytest.importorskip('mmdet')
    sources.prepare('mmdet')
    name = 'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1'
    with DefaultScope.overwrite_default_scope('mmdet'):
        verdict = zoo.judge(
            'x', lambda: make('mmdet', f'{name}-coco.py', [64])
        )
    assert verdict.status == 'not runnable'
    assert 'averaged into its teacher' in verdict.reason


def test_sizes_are_asked_for():
    with pytest.raises(ValueError, match='sides is empty; pass one'):
        make('torchvision', 'x', [])


def test_a_model_of_torchvision():
    verdict = zoo.judge(
        'squeezenet1_1', lambda: make('torchvision', 'squeezenet1_1', [64])
    )
    assert (verdict.status, verdict.reason) == ('exact', '')
    assert verdict.prunable > 0.99


def test_names_of_torchvision():
    assert sources.names('torchvision', ['resnet18', 'vgg11']) == [
        'resnet18',
        'vgg11',
        'vgg11_bn',
    ]


def test_a_detector_learns_and_is_built_anew():
    with DefaultScope.overwrite_default_scope('mmdet'):
        candidate = from_config(small_config('retinanet'), 64)
        built = candidate.rebuild({})
        loss = candidate.loss(candidate.model)
    assert type(built) is type(candidate.model)
    assert isinstance(built, nn.Module) and torch.isfinite(loss)
    assert [path.mode for path in candidate.paths.also] == ['predict', 'loss']


def test_a_model_that_only_runs_once_its_weights_are_set():
    class Embedded(ToyNet):
        is_set = False

        def init_weights(self):
            self.is_set = True

        def forward(self, inputs, data_samples=None, mode='tensor'):
            if not self.is_set:
                raise RuntimeError('a region of negative width')
            return super().forward(inputs, data_samples, mode)

    def toy_batch():
        return training_batch(loader('DefaultSampler'))

    with patch.object(sources, 'build_model', lambda _: Embedded()):
        with patch.object(sources, 'generated_batch', lambda *_: toy_batch()):
            candidate = from_config(Config(dict(model=dict())), 8)
    assert candidate.model.is_set
    assert torch.isfinite(candidate.loss(candidate.model))


def test_a_classifier_of_mmpretrain():
    pytest.importorskip('mmpretrain.models', reason='needs mmpretrain')
    name = 'mobilenet_v2/mobilenet-v2_8xb32_in1k.py'
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        verdict = zoo.judge(name, lambda: make('mmpretrain', name, [64]))
    assert (verdict.status, verdict.reason) == ('exact', '')
    assert verdict.prunable > 0.99
