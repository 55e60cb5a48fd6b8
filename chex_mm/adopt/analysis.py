"""What exploration can do with a model, found without data or training.

Everything is measured on the model that the config describes, with random
weights and a generated batch.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..budget.allocation import uniform_counts
from ..budget.budgets import Budget
from ..cli.progress import stage
from ..deploy.slimming import build_model
from ..graph.graph import ChannelGraph
from ..graph.groups import ChannelGroup
from ..packages import package_in, package_of
from ..packages.paths import generated_batch, run_paths, trace_detector
from ..surgery import Difference, compare, mask_channels, slim
from .pinned import pinned_work

# How torch's modules draw their own parameters when they are built.
RESETS = ('reset_parameters', '_reset_parameters')


@dataclass(frozen=True)
class Options:
    """What to find out.

    Attributes:
        keep: Share of the FLOPs that the uniformly narrow model may cost.
        verify: Whether to cut a copy at random and compare outputs.
        strict: Refuse operators without a rule.
        shape: Height and width of the image.
        divisor: Widths are multiples of it where possible.
    """

    keep: float = 0.5
    verify: bool = False
    strict: bool = False
    shape: tuple[int, int] = (320, 320)
    divisor: int = 8

    def __post_init__(self):
        Budget('flops', self.keep)  # refuses what is no share
        if self.divisor < 1:
            raise ValueError(
                f'divisor={self.divisor} must be at least 1, such as 8.'
            )


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was found.

    Attributes:
        name: Of the config.
        graph: The channels of the model.
        counts: Channels per group of the uniformly narrow model.
        difference: Of masked and narrow outputs, if it was asked for.
        seconds: Time that tracing and, if asked for, verifying took.
    """

    name: str
    graph: ChannelGraph
    counts: Mapping[str, int]
    difference: Difference | None
    seconds: float

    @property
    def pinned(self) -> dict[str, int]:
        """Reason to pinned channels, the most expensive reason first."""
        channels, cost = Counter(), Counter()
        for group in self.graph.groups.values():
            if group.pinned:
                channels[group.pinned] += group.size
                cost[group.pinned] += group_cost(self.graph, group)
        return {reason: channels[reason] for reason, _ in cost.most_common()}

    def as_json(self) -> dict:
        """The contract of `tools/analyze.py --json`.

        `groups` and `channels` count what may be cut, `pinned` the rest;
        `pinned_work` says, per module, which multiply-adds must stay.
        """
        graph, found = self.graph, self.difference
        return {
            'config': self.name,
            'groups': len(graph.free),
            'channels': sum(group.size for group in graph.free.values()),
            'pinned': self.pinned,
            'pinned_work': [asdict(work) for work in pinned_work(graph)],
            'unknown_ops': [str(op) for op in graph.unknown_ops],
            'flops': {
                'dense': graph.flops(),
                'slim': graph.flops(self.counts),
            },
            'params': {
                'dense': graph.params(),
                'slim': graph.params(self.counts),
            },
            'max_abs_diff': found and found.max_abs,
            'max_rel_diff': found and found.max_rel,
            'seconds': self.seconds,
        }


def analyse(name: str, config: Config, options: Options) -> Analysis:
    """Traces the model of a config and cuts it evenly.

    Args:
        name: Of the config.
        config: What it holds.
        options: What to find out.

    Raises:
        ChexError: It cannot be traced; `strict` and operators have no rule.
        ValueError: No uniform width costs so little.
    """
    package_of(config)  # refuses one of which nothing is known
    stage('build the model')
    model = revert_sync_batchnorm(build_model(config))
    draw_vectors(model)
    batch = generated_batch(model, (3, *options.shape), config)
    stage('trace its channels')
    start = time.perf_counter()
    graph = trace_detector(model, batch, options.strict)
    counts = uniform_counts(
        graph, Budget('flops', options.keep), divisor=options.divisor
    )
    difference = None
    if options.verify:
        stage('cut a copy at random and compare')
        difference = random_difference(model, graph, batch, counts)
    seconds = time.perf_counter() - start
    return Analysis(name, graph, counts, difference, seconds)


@torch.no_grad()
def random_difference(
    model: nn.Module, graph: ChannelGraph, batch, counts: Mapping[str, int]
) -> Difference:
    """How far masked and narrow `model` are apart at random masks.

    Leaves `model` masked, its norm layers changed.
    """
    generator = torch.Generator().manual_seed(0)
    run = run_paths(copy.deepcopy(model), batch).cost
    settle_norms(model, run, generator)
    keep = random_keep(graph, counts, generator)
    narrow = slim(model, graph, keep)
    mask_channels(model, graph, keep)
    return compare(model, narrow, package_in(model).shared(run))


@torch.no_grad()
def draw_vectors(model: nn.Module) -> None:
    """Draws the vectors that building a module leaves to init_weights().

    Some are memory as it was found (the scales of SSD's L2Norm), some so
    small (layer scale) that a wrong cut behind them would not show.
    """
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if any(hasattr(module, name) for name in RESETS):
            continue
        for parameter in module.parameters(recurse=False):
            if parameter.dim() <= 1:
                parameter.uniform_(0.5, 1.5, generator=generator)


@torch.no_grad()
def settle_norms(
    model: nn.Module, run: Callable, generator: torch.Generator
) -> None:
    """Gives norm layers what training might have given them.

    With their first values, 0 and 1, many a wrong cut would not show; with
    statistics unlike their input, rounding errors would grow.
    """

    def fit(module, args, kwargs):
        (x,) = *args, *kwargs.values()
        others = [dim for dim in range(x.dim()) if dim != 1]
        module.running_mean.copy_(x.mean(others))
        module.running_var.uniform_(0.5, 2, generator=generator)
        module.running_var.mul_(x.var())

    hooks = []
    for module in model.modules():
        if isinstance(module, (_BatchNorm, nn.GroupNorm)) and module.affine:
            module.weight.uniform_(0.25, 0.75, generator=generator)
            module.bias.normal_(0, 0.3, generator=generator)
        if getattr(module, 'running_mean', None) is not None:
            hooks.append(
                module.register_forward_pre_hook(fit, with_kwargs=True)
            )
    try:
        run(model)
    finally:
        for hook in hooks:
            hook.remove()


def random_keep(
    graph: ChannelGraph,
    counts: Mapping[str, int],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Masks that keep `counts` random channels of each group."""
    keep = {}
    for name, count in counts.items():
        order = torch.randperm(graph.groups[name].size, generator=generator)
        keep[name] = order < count
    return keep


def group_cost(graph: ChannelGraph, group: ChannelGroup) -> int:
    """Multiply-adds of the modules that compute the group's channels."""
    counts, modules = graph.counts(), set(group.modules)
    return sum(w.flops(counts) for w in graph.work if w.module in modules)
