"""One architecture of a model zoo, from its config to a verdict.

Everything a user would do with it is done on generated data: trace, cut to
half of the FLOPs, compare, train a step, save, load and compare again.
"""

from __future__ import annotations

import copy
import io
import json
import resource
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import nn

from ..channels.graph import ChannelGraph
from ..explore import Budget, uniform_counts
from ..explore.weights import channel_norms, find_tensors, touched_shapes
from ..surgery import Difference, compare, describe, mask_channels, slim
from .analysis import draw_vectors, random_keep, settle_norms
from .deploy import build_model, plain_run
from .models.slim_model import plain_architecture, slim_model
from .randomness import fixed_random_state
from .regions import SharedRegions
from .tracing import Paths, generated_batch, run_paths, trace_detector

KEEP = 0.5
MOST_APART = 1e-4  # of the largest output, in float32
# What does not change the architecture; see `architecture_key`.
NOT_ARCHITECTURE = {
    'init_cfg',
    'pretrained',
    'train_cfg',
    'test_cfg',
    'data_preprocessor',
    'num_classes',
}


@dataclass(frozen=True)
class Verdict:
    """What was found out about one architecture.

    Attributes:
        name: `PACKAGE::PATH` of its config.
        status: 'exact', 'refused' (it runs, but nothing may be cut),
            'different' or 'fails'.
        reason: Why, where it is not exact.
        groups: Channel groups that may be cut.
        prunable: Share of the multiply-adds in layers of which rows or
            columns may be cut.
        reached: Share of the multiply-adds that the narrow model has.
        pinned: Reason to the share of the multiply-adds it keeps.
        unknown: Operators without a rule that channels entered.
        differences: Relative difference of the outputs, by what was done.
        trace_seconds: Time of the trace, replay included.
        seconds: Time of everything.
        peak_memory: Of the process, in GB.
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
    trace_seconds: float = 0.0
    seconds: float = 0.0
    peak_memory: float = 0.0


def architectures(
    root: Path, only: Sequence[str] = (), one_per_folder: bool = False
) -> Iterator[str]:
    """Paths of a package's configs, one per architecture.

    Of configs with the same model, schedule and data apart, the first in
    alphabetical order stands for all.

    Args:
        root: The package's config folder.
        only: Leaves out paths that contain none of these.
        one_per_folder: Only the first architecture of each folder.
    """
    seen, folders = set(), set()
    for path in sorted(root.glob('[!_]*/**/*.py')):
        name = path.relative_to(root).as_posix()
        if only and not any(text in name for text in only):
            continue
        if one_per_folder and path.parent in folders:
            continue
        key = _key_of(path)
        if key is not None and key not in seen:
            seen.add(key)
            folders.add(path.parent)
            yield name


def _key_of(path: Path) -> str | None:
    try:
        config = Config.fromfile(path, import_custom_modules=False)
    except Exception:
        return None  # a part of others, or it needs what is not installed
    return architecture_key(config.model) if 'model' in config else None


def architecture_key(model: dict) -> str:
    """The same for models that differ in weights or training only."""

    def strip(value):
        if isinstance(value, Mapping):
            return {
                key: strip(part)
                for key, part in value.items()
                if key not in NOT_ARCHITECTURE
            }
        if isinstance(value, (list, tuple)):
            return [strip(part) for part in value]
        return value if isinstance(value, (int, float, str)) else str(value)

    return json.dumps(strip(model), sort_keys=True)


def judge(name: str, config: Config, image: tuple[int, int]) -> Verdict:
    """Puts one architecture through everything.

    Args:
        name: How the verdict calls it.
        config: Complete; its `default_scope` must be in use.
        image: Height and width of generated images.
    """
    begin = time.perf_counter()
    found: dict = {}
    try:
        with fixed_random_state():
            status, reason = _examine(config, image, found)
    except Exception as error:
        status, reason = 'fails', f'{type(error).__name__}: {error}'
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return Verdict(
        name=name,
        status=status,
        reason=' '.join(reason.split())[:300],
        seconds=round(time.perf_counter() - begin, 1),
        peak_memory=round(peak, 2),
        **found,
    )


def _examine(config: Config, image, found: dict) -> tuple[str, str]:
    """Fills `found`; returns status and reason."""
    model = revert_sync_batchnorm(build_model(config))
    draw_vectors(model)
    batch = generated_batch(model, (3, *image), config)
    begin = time.perf_counter()
    graph = trace_detector(model, batch)
    found['trace_seconds'] = round(time.perf_counter() - begin, 2)
    found.update(describe_graph(graph))
    if not graph.free:
        return 'refused', 'every channel is pinned'
    counts = _allocation(graph)
    found['reached'] = round(graph.flops(counts) / graph.flops(), 3)
    paths = run_paths(copy.deepcopy(model), batch)
    settle_norms(model, paths.cost, torch.Generator().manual_seed(0))
    apart = found['differences'] = {}
    for how in ('random', 'norms'):
        keep = choose(model, graph, counts, how)
        narrow = slim(model, graph, keep)
        masked = copy.deepcopy(model)
        mask_channels(masked, graph, keep)
        apart[how] = _difference(masked, narrow, paths)
    reloaded = _reload(config, model, narrow)
    apart['reloaded'] = _difference(narrow, reloaded, paths)
    if not max(apart.values()) <= MOST_APART:
        return 'different', f'the outputs differ: {apart}'
    fault = _training_fault(model, narrow, paths)
    return ('different' if fault else 'exact'), fault


def describe_graph(graph: ChannelGraph) -> dict:
    """The part of a verdict that follows from the graph alone."""
    total = graph.flops() or 1
    free, counts = set(graph.free), graph.counts()
    prunable, pinned = 0, Counter()
    for work in graph.work:
        groups = [*work.rows.per_channel, *work.columns.per_channel]
        if free & set(groups):
            prunable += work.flops(counts)
            continue
        reasons = {graph.groups[g].pinned for g in groups if g in graph.groups}
        text = sorted(reasons)[0] if reasons else 'no channels meet there'
        pinned[text] += work.flops(counts)
    return {
        'groups': len(free),
        'prunable': round(prunable / total, 4),
        'pinned': {
            reason: round(cost / total, 4)
            for reason, cost in pinned.most_common(3)
        },
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
    found: Difference = compare(
        one, other, SharedRegions(plain_run(paths.cost))
    )
    # Boxes in pixels are large, some heads' outputs nearly zero.
    return min(found.max_abs, found.max_rel)


def _reload(config: Config, model: nn.Module, narrow: nn.Module):
    """The narrow model after a trip through a file and a config."""
    file = io.BytesIO()
    torch.save(narrow.state_dict(), file)
    file.seek(0)
    channels = json.loads(json.dumps(describe(model, narrow).channels))
    architecture = plain_architecture(copy.deepcopy(config.model))
    built = slim_model(architecture, channels, config.get('data_preprocessor'))
    built = revert_sync_batchnorm(built)
    built.load_state_dict(torch.load(file, weights_only=True))
    return built.eval()


def _training_fault(model, narrow, paths: Paths) -> str:
    """What is wrong with one training step of the narrow model, or ''."""
    step = next((p for p in paths.also if p.mode == 'loss'), None)
    if step is None:
        return ''
    learnt = []
    for each in (copy.deepcopy(model), copy.deepcopy(narrow)):
        loss, _ = each.parse_losses(step(each))
        loss.backward()
        learnt.append(
            {n for n, p in each.named_parameters() if p.grad is not None}
        )
    if not bool(torch.isfinite(loss)):
        return f'the loss of the narrow model is {float(loss)}'
    lost = sorted(learnt[0] - learnt[1])
    return f'the narrow {lost[0]} has no gradient' if lost else ''
