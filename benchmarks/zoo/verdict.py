"""One architecture of a model zoo, from its parts to a verdict.

Everything a user would do with it is done on generated data: trace, cut to
half of the FLOPs, compare, train a step, save, load and compare again.
"""

from __future__ import annotations

import copy
import io
import json
import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

import chex_mm
from chex_mm.adopt.analysis import random_keep, settle_norms
from chex_mm.adopt.pinned import pinned_by_reason
from chex_mm.budget.allocation import uniform_counts
from chex_mm.budget.budgets import Budget
from chex_mm.dispatch.randomness import fixed_random_state
from chex_mm.graph.graph import ChannelGraph
from chex_mm.packages import package_in
from chex_mm.packages.paths import Paths
from chex_mm.submodel.weights import (
    channel_norms,
    find_tensors,
    touched_shapes,
)
from chex_mm.surgery import compare, describe, mask_channels, slim
from chex_mm.trace.replay import FailsUncut

KEEP = 0.5
MOST_APART = 1e-4  # of the largest output, in float32


@dataclass(frozen=True)
class Candidate:
    """An architecture that can be run.

    Attributes:
        model: Without pre-trained weights, its norm layers not settled.
        paths: Ways through it, on data that it takes.
        loss: The loss of one training step; None if it has none.
        rebuild: The narrow model, with weights of its own, from the channels
            of a slim spec.
        side: Pixels of an image's side.
    """

    model: nn.Module
    paths: Paths
    loss: Callable[[nn.Module], Tensor] | None
    rebuild: Callable[[dict], nn.Module]
    side: int


class NotRunnable(Exception):
    """This machine lacks what the architecture needs; says what."""


@dataclass(frozen=True)
class Verdict:
    """What was found out about one architecture.

    Attributes:
        name: Path of its config, or what its package calls it.
        status: 'exact', 'refused' (it runs, but nothing may be cut),
            'different', 'fails' or 'not runnable' (on this machine).
        reason: Why, where it is not exact, or what could not be tried.
        groups: Channel groups that may be cut.
        prunable: Share of the multiply-adds in layers of which rows or
            columns may be cut.
        reached: Share of the multiply-adds that the narrow model has.
        pinned: Reason to the share of the multiply-adds it keeps.
        unknown: Operators without a rule that channels entered.
        differences: Relative difference of the outputs, by what was done.
        side: Pixels of an image's side.
        trace_seconds: CPU time of the trace, replay included.
        seconds: CPU time of everything.
        peak_memory: Of the process, in GB.
        date: Day on which it was found out.
    """

    name: str
    status: str
    reason: str = ''
    groups: int = 0
    prunable: float = 0.0
    reached: float = 1.0
    pinned: dict[str, float] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)
    side: int = 0
    trace_seconds: float = 0.0
    seconds: float = 0.0
    peak_memory: float = 0.0
    date: str = ''


def judge(name: str, make: Callable[[], Candidate]) -> Verdict:
    """Puts one architecture through everything.

    Args:
        name: How the verdict calls it.
        make: Builds it.
    """
    begin = time.process_time()
    found: dict = {}
    try:
        with fixed_random_state():
            status, reason = _examine(make(), found)
    except NotRunnable as error:
        status, reason = 'not runnable', str(error)
    except FailsUncut as error:
        status, reason = 'not runnable', f'its own code fails: {error}'
    except Exception as error:
        status, reason = 'fails', f'{type(error).__name__}: {error}'
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return Verdict(
        name=name,
        status=status,
        reason=' '.join(reason.split())[:300],
        seconds=round(time.process_time() - begin, 1),
        peak_memory=round(peak, 2),
        **found,
    )


def _examine(candidate: Candidate, found: dict) -> tuple[str, str]:
    """Fills `found`; returns status and reason."""
    model, paths = candidate.model, candidate.paths
    found['side'] = candidate.side
    begin = time.process_time()
    graph = chex_mm.trace_channels(
        model, paths.cost, paths.also, repeats_cost=paths.repeats_cost
    )
    found['trace_seconds'] = round(time.process_time() - begin, 2)
    found.update(describe_graph(graph))
    if not graph.free:
        return 'refused', 'every channel is pinned'
    counts = _allocation(graph)
    found['reached'] = round(graph.flops(counts) / graph.flops(), 3)
    settle_norms(model, paths.cost, torch.Generator().manual_seed(0))
    apart = found['differences'] = {}
    for how in ('random', 'norms'):
        keep = choose(model, graph, counts, how)
        narrow = slim(model, graph, keep)
        masked = copy.deepcopy(model)
        mask_channels(masked, graph, keep)
        apart[how] = _difference(masked, narrow, paths)
    reloaded = _reload(candidate, narrow)
    apart['reloaded'] = _difference(narrow, reloaded, paths)
    if not max(apart.values()) <= MOST_APART:
        return 'different', f'the outputs differ: {apart}'
    return _judge_training(candidate, narrow)


def describe_graph(graph: ChannelGraph) -> dict:
    """The part of a verdict that follows from the graph alone."""
    total = graph.flops() or 1
    free, counts = set(graph.free), graph.counts()
    prunable = sum(
        work.flops(counts)
        for work in graph.work
        if free & {*work.rows.per_channel, *work.columns.per_channel}
    )
    reasons = list(pinned_by_reason(graph).items())[:3]
    return {
        'groups': len(free),
        'prunable': round(prunable / total, 4),
        'pinned': {why: round(cost / total, 4) for why, cost in reasons},
        'unknown': [str(op) for op in graph.unknown_ops],
    }


def _allocation(graph: ChannelGraph) -> dict[str, int]:
    """Half of the FLOPs; half of the channels where that is not enough."""
    try:
        return uniform_counts(graph, Budget('flops', KEEP))
    except ValueError:
        return {n: max(1, g.size // 2) for n, g in graph.free.items()}


def choose(model: nn.Module, graph: ChannelGraph, counts, how: str) -> dict:
    """Masks that keep random channels, or those of the largest rows."""
    if how == 'random':
        return random_keep(graph, counts, torch.Generator().manual_seed(1))
    tensors, keep = find_tensors(model, touched_shapes(graph, counts)), {}
    for name, count in counts.items():
        norms = channel_norms(tensors, graph.groups[name])
        keep[name] = torch.zeros(len(norms), dtype=torch.bool)
        keep[name][norms.topk(count).indices] = True
    return keep


def _difference(one: nn.Module, other: nn.Module, paths: Paths) -> float:
    run = package_in(one).shared(paths.cost)
    return compare(one, other, run).max_rel


def _reload(candidate: Candidate, narrow: nn.Module) -> nn.Module:
    """The narrow model after a trip through a file and a config."""
    file = io.BytesIO()
    torch.save(narrow.state_dict(), file)
    file.seek(0)
    channels = describe(candidate.model, narrow).channels
    built = candidate.rebuild(json.loads(json.dumps(channels)))
    built.load_state_dict(torch.load(file, weights_only=True))
    built.eval()  # mmdet3d's ImVoteNet returns nothing here
    return built


def _judge_training(
    candidate: Candidate, narrow: nn.Module
) -> tuple[str, str]:
    """Whether one training step of the narrow model is as it should be."""
    if candidate.loss is None:
        return 'exact', ''
    try:
        _, learnt = _train(candidate.model, candidate.loss)
    except Exception as error:  # so there is nothing to compare with
        return 'exact', f'but its own training step fails: {error}'
    loss, found = _train(narrow, candidate.loss)
    if not math.isfinite(loss):
        return 'different', f'the loss of the narrow model is {loss}'
    for name in sorted(learnt - found):
        return 'different', f'the narrow {name} has no gradient'
    return 'exact', ''


def _train(model: nn.Module, step: Callable) -> tuple[float, set[str]]:
    """The loss of a training step, and what has a gradient after it."""
    loss = step(model)
    loss.backward()
    names = {n for n, p in model.named_parameters() if p.grad is not None}
    return float(loss.detach()), names
