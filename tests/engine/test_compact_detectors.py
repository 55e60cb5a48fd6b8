"""Real detectors train the same sub-model masked and narrow."""

import copy
from dataclasses import dataclass

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from chex_mm import Budget, ChannelExplorer
from chex_mm.packages.paths import generated_batch, trace_detector

from . import small_detectors

SIDE = small_detectors.SIDE
STEPS = 3
# Iterations, learning rate, and how far apart losses and weights may be.
# Training multiplies rounding (farthest points and assignments are discrete),
# so most learn slowly and shortly; a wrong channel shows at once.
LONG, SHORT = (52, 1e-3, 1e-5), (12, 1e-4, 1e-3)

# What mmdet, and mmdet3d, call on this torch.
pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in (
        'torch.meshgrid',
        '`torch.cuda.amp',
        'Unnecessary conv bias before',
        'torch.utils.checkpoint',
    )
]


@dataclass
class Run:
    """A model that explores while it trains, and what it did."""

    explorer: ChannelExplorer
    wrapper: OptimWrapper
    batch: dict

    def iterate(self, number: int, interval: int) -> float:
        """One iteration; after every `interval` an exploration step."""
        torch.manual_seed(number)  # what heads sample
        model = self.explorer.model.train()
        batch = copy.deepcopy(self.batch)
        losses = model.train_step(batch, self.wrapper)
        self.explorer.enforce()
        if number % interval == 0 and not self.explorer.is_finished:
            self.explorer.step(self.wrapper.optimizer)
        return float(losses['loss'].detach())

    def state(self) -> dict:
        """Weights of dense shapes."""
        state = dict(self.explorer.model.state_dict())
        self.explorer.sub_model.widen_state(state)
        return state


def start(model, batch, graph, execution, rate):
    explorer = ChannelExplorer(
        copy.deepcopy(model),
        graph,
        Budget('flops', 0.5),
        STEPS,
        divisor=2,
        execution=execution,
        floor=0.1,
    )
    optimizer = torch.optim.SGD(
        explorer.model.parameters(), lr=rate, momentum=0.9
    )
    wrapper = OptimWrapper(optimizer, clip_grad=dict(max_norm=10.0))
    return Run(explorer, wrapper, batch)


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def of_images(name):
    torch.manual_seed(0)
    model = small_detectors.build_small(name)
    model.init_weights()
    # YOLOX draws sizes by the iteration of a Runner.
    model.data_preprocessor.batch_augments = None
    return model, generated_batch(model, (3, SIDE, SIDE))


def of_points(name):
    pytest.importorskip('mmdet3d', reason='the model is one of mmdet3d')
    from . import small_detectors3d

    torch.manual_seed(0)
    model, batch = small_detectors3d.build_small(name)
    model.init_weights()
    return without_dropout(model), batch


def checkpointing():
    """A RetinaNet that computes its activations twice."""
    model, batch = of_images('retinanet')
    for module in model.backbone.modules():
        if hasattr(module, 'with_cp'):
            module.with_cp = True
    return model, batch


CASES = {
    'retinanet with_cp': (checkpointing, LONG),
    **{
        name: (lambda name=name: of_images(name), SHORT)
        for name in ('mask_rcnn', 'rtmdet', 'yolox', 'ssd')
    },
    **{
        name: (lambda name=name: of_points(name), SHORT)
        for name in ('votenet', 'pointnet2_ssg')
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(('make', 'extent'), CASES.values(), ids=CASES)
def test_masked_and_compact_train_the_same_model(make, extent):
    (model, batch), (iterations, rate, apart) = make(), extent
    graph = trace_detector(model, batch)
    masked, compact = (
        start(model, batch, graph, how, rate) for how in ('masked', 'compact')
    )
    first = copy.deepcopy(masked.explorer.keep)
    for number in range(1, iterations + 1):
        one, other = (
            run.iterate(number, iterations // (STEPS + 1))
            for run in (masked, compact)
        )
        assert other == pytest.approx(one, rel=apart), number
        keep, same = masked.explorer.keep, compact.explorer.keep
        assert all(torch.equal(keep[n], same[n]) for n in keep), number
    assert masked.explorer.is_finished
    assert any(not torch.equal(keep[n], first[n]) for n in keep)
    expected, found = masked.state(), compact.state()
    for name, tensor in expected.items():
        scale = tensor.float().abs().max().clamp(min=1e-3)
        gap = (tensor.float() - found[name].float()).abs().max() / scale
        assert gap < apart, name
    live = sum(p.numel() for p in compact.explorer.model.parameters())
    counts = graph.counts(compact.explorer.keep)
    assert live == graph.params(counts) < graph.params()
