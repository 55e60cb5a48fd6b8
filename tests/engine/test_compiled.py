"""Masked execution under torch.compile is compiled once, not every step."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS
from torch._dynamo.utils import counters

from .toy_runs import ToyNet, build, chex, conv

# What torch says while it compiles.
pytestmark = pytest.mark.filterwarnings('ignore')


@MODELS.register_module()
class DeepToyNet(ToyNet):
    """Has more tensors, and code of the same length."""

    def __init__(self, depth):
        super().__init__()
        self.neck = torch.nn.Sequential(*(conv(16, 16) for _ in range(depth)))


@HOOKS.register_module()
class CountFrames(Hook):
    """How many frames were compiled, after every iteration."""

    def __init__(self):
        self.counts = []

    def after_train_iter(self, runner, **_):
        self.counts.append(counters['frames']['total'])


def run(work_dir, depth, **cfg):
    torch.compiler.reset()
    counters.clear()
    runner = build(
        work_dir,
        model=dict(type='DeepToyNet', depth=depth),
        cfg=cfg,
        custom_hooks=[chex(execution='masked'), dict(type='CountFrames')],
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None,
        default_hooks=dict(checkpoint=None),
    )
    runner.train()
    return next(h for h in runner.hooks if type(h) is CountFrames)


def test_nothing_is_compiled_for_a_step_or_a_tensor(tmp_path):
    compiled = dict(compile=dict(backend='eager'))
    shallow = run(tmp_path / 'shallow', 1, **compiled)
    assert len(shallow.counts) == 24
    # The first iteration and what differs from then on, then never again.
    assert 0 < shallow.counts[3] == shallow.counts[-1]
    deep = run(tmp_path / 'deep', 4, **compiled)
    # Fewer: what torch never compiles it has found out already.
    assert 0 < deep.counts[3] == deep.counts[-1] <= shallow.counts[-1]
