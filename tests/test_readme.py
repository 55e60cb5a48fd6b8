"""README's code does what README says."""

import re
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS, init_default_scope
from torch import nn

README = (Path(__file__).parents[1] / 'README.md').read_text()
BLOCKS = re.findall(r'```python\n(.*?)```', README, re.DOTALL)


def test_the_config_gives_a_model_from_scratch_and_a_hook(tmp_path):
    file = tmp_path / 'config.py'
    file.write_text(BLOCKS[0])
    config = Config.fromfile(file)
    init_default_scope('mmdet')
    model = MODELS.build(config.model)
    hook = HOOKS.build(config.custom_hooks[0])
    assert hook.budget.keep == 0.5
    model.train()
    norms = [m for m in model.modules() if isinstance(m, nn.SyncBatchNorm)]
    assert norms and all(norm.training for norm in norms)
    assert all(p.requires_grad for p in model.parameters())


def test_the_loop_without_openmmlab_ends_in_a_narrow_model(capsys):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )
    images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    names = dict(
        model=model,
        images=images,
        labels=labels,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        loss=nn.functional.cross_entropy,
        loader=[(images, labels)] * 40,
    )
    code = BLOCKS[1].replace('500, 10001, 500', '2, 41, 2')
    assert code != BLOCKS[1]
    exec(code, names)
    assert 'may be cut' in capsys.readouterr().out
    assert names['explorer'].is_finished
    narrow, graph = names['narrow'], names['graph']
    counts = graph.counts(names['explorer'].keep)
    assert graph.flops(counts) <= 0.5 * graph.flops()
    model.eval()
    narrow.eval()
    assert torch.allclose(model(images), narrow(images), atol=1e-6)
    assert narrow[0].out_channels < 16
