"""MaskedBackbone: the inner module itself, with its masks as buffers."""

import copy
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner

from chex_mm.engine.datasets import write_shapes
from chex_mm.engine.models.masked_backbone import (
    drop_masks,
    marked_scopes,
    write_masks,
)

from .small_retinanet import build_retinanet, retinanet
from .toy_runs import ToyBackbone, build, chex, hook_of

MASKED = dict(type='MaskedBackbone', backbone=dict(type='ToyBackbone'))
MODEL = dict(type='ToyNet', backbone=MASKED)


def masks_of(model):
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if 'chex_mask/' in name
    }


def test_it_is_the_inner_module():
    module = MODELS.build(MASKED)
    assert type(module) is ToyBackbone
    assert module.state_dict().keys() == ToyBackbone().state_dict().keys()
    assert marked_scopes(MODELS.build(MODEL)) == ('backbone',)


def test_the_hook_explores_only_what_is_wrapped(tmp_path):
    runner = build(tmp_path, model=MODEL)
    runner.train()
    explorer = hook_of(runner).explorer
    assert list(explorer.keep) == ['backbone.stem.0', 'backbone.inner.0']
    masks = masks_of(runner.model)
    assert list(masks) == [
        'backbone.chex_mask/stem/0',
        'backbone.chex_mask/inner/0',
    ]
    for mask, keep in zip(masks.values(), explorer.keep.values()):
        assert torch.equal(mask, keep)
        assert not keep.all()


def test_an_explicit_scope_wins(tmp_path):
    wide = chex(scope=['neck'], budget=dict(type='flops', keep=0.9))
    runner = build(tmp_path, model=MODEL, custom_hooks=[wide])
    runner.train()
    assert list(hook_of(runner).explorer.keep) == ['neck.0']
    assert masks_of(runner.model) == {}


def test_a_checkpoint_loads_strictly(tmp_path):
    runner = build(tmp_path, model=MODEL)
    runner.train()
    path = tmp_path / 'iter_24.pth'
    state = torch.load(path, weights_only=True)['state_dict']
    fresh = MODELS.build(MODEL)
    fresh.load_state_dict(state, strict=True)
    copied = copy.deepcopy(MODELS.build(MODEL))
    copied.load_state_dict(state, strict=True)
    for model in (fresh, copied):
        assert list(masks_of(model)) == list(masks_of(runner.model))
        for name, tensor in runner.model.state_dict().items():
            assert torch.equal(model.state_dict()[name], tensor), name


def test_masks_come_in_the_order_of_the_groups():
    model = MODELS.build(MODEL)
    keep = {
        'backbone.stem.0': torch.rand(16) < 0.5,
        'backbone.inner.0': torch.rand(16) < 0.5,
        'neck.0': torch.ones(16, dtype=torch.bool),
    }
    write_masks(model, dict(reversed(keep.items())))
    write_masks(model, keep)
    assert [name for name, _ in model.backbone.named_buffers()][:2] == [
        'chex_mask/stem/0',
        'chex_mask/inner/0',
    ]
    stem = masks_of(model)['backbone.chex_mask/stem/0']
    keep['backbone.stem.0'] = ~keep['backbone.stem.0']
    write_masks(model, keep)
    assert torch.equal(stem, keep['backbone.stem.0'])
    drop_masks(model)
    assert masks_of(model) == {}


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The work directory of a small RetinaNet on real images and its model."""
    work_dir = tmp_path_factory.mktemp('retinanet')
    shapes = write_shapes(work_dir / 'shapes', dict(train=6))
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(64, 64)),
        dict(type='PackDetInputs'),
    ]
    build_retinanet(masked=True)  # imports and registers mmdet
    runner = Runner.from_cfg(
        Config(
            dict(
                default_scope='mmdet',
                model=retinanet(masked=True),
                work_dir=str(work_dir),
                train_dataloader=dict(
                    batch_size=2,
                    num_workers=0,
                    sampler=dict(type='InfiniteSampler'),
                    dataset=dict(
                        type='CocoDataset',
                        data_root=str(shapes),
                        ann_file='train.json',
                        data_prefix=dict(img='train/'),
                        metainfo=dict(
                            classes=('disc', 'square', 'triangle', 'star')
                        ),
                        pipeline=pipeline,
                    ),
                ),
                train_cfg=dict(by_epoch=False, max_iters=6),
                optim_wrapper=dict(
                    optimizer=dict(type='SGD', lr=0.01, momentum=0.9)
                ),
                default_hooks=dict(
                    checkpoint=dict(
                        type='CheckpointHook', interval=2, by_epoch=False
                    )
                ),
                custom_hooks=[
                    chex(budget=dict(type='flops', keep=0.6), divisor=2)
                ],
                randomness=dict(seed=0),
                experiment_name='masked_retinanet',
            )
        )
    )
    runner.train()
    return work_dir, runner


def test_a_detector_is_explored_in_its_backbone(trained):
    _, runner = trained
    explorer = hook_of(runner).explorer
    assert explorer.is_finished
    assert explorer.share() <= 0.6
    assert all(name.startswith('backbone.') for name in explorer.keep)
    assert len(masks_of(runner.model)) == len(explorer.keep) > 5


EVALUATE = """
import sys, torch
sys.path[:0] = [{tests!r}]
from small_retinanet import build_retinanet
model = build_retinanet()
state = torch.load({path!r}, weights_only=False)['state_dict']
missing = model.load_state_dict(state, strict=False).missing_keys
assert not missing, missing
torch.manual_seed(0)
with torch.no_grad():
    outputs = model.eval()(torch.randn(1, 3, 64, 64))
assert 'chex_mm' not in sys.modules
torch.save([list(part) for part in outputs], {out!r})
"""


def test_the_original_config_evaluates_it_without_chex_mm(trained, request):
    work_dir, _ = trained
    path, out = work_dir / 'iter_4.pth', work_dir / 'outputs.pt'
    script = EVALUATE.format(
        tests=str(request.path.parent), path=str(path), out=str(out)
    )
    subprocess.run([sys.executable, '-c', script], check=True)
    model = build_retinanet(masked=True)
    model.load_state_dict(torch.load(path, weights_only=True)['state_dict'])
    torch.manual_seed(0)
    with torch.no_grad():
        expected = model.eval()(torch.randn(1, 3, 64, 64))
    found = torch.load(out, weights_only=True)
    for part, same in zip(expected, found):
        for one, other in zip(part, same):
            assert torch.equal(one, other)
