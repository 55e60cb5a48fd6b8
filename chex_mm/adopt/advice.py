"""What a person should know, or decide, about a config that CHEX explores.

Plain sentences with the lines to paste; nothing here changes a config.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from mmengine.config import Config

from ..graph.graph import ChannelGraph
from ..graph.groups import ChannelGroup, Role
from ..strategies.schedule import fit_steps
from .config_text import WIDTH, assignment

LONGER = 6  # times as long from random weights, on COCO
SOURCE = '"Rethinking ImageNet Pre-training" (arXiv:1811.08883)'
WARM_UPS = ('LinearLR', 'ConstantLR', 'Warmup', 'OneCycle')
SHOWN = 6  # reasons
END = 0.72  # the hook's default


def length_advice(config: Config, dropped_weights: bool) -> Iterator[str]:
    """How long to train from random weights.

    Args:
        config: Of the dense model.
        dropped_weights: Whether pre-trained weights were taken out of it.
    """
    loop = config.get('train_cfg') or {}
    key = 'max_epochs' if loop.get('max_epochs') else 'max_iters'
    length, unit = loop.get(key), key[len('max_') :]
    if not length:
        yield 'The base has no train_cfg: say how long to train.'
    elif dropped_weights:
        yield (
            f'Length: the base trains {length} {unit}, from pre-trained '
            f'weights. Random weights need longer: on COCO {SOURCE} trains '
            f'{LONGER} times as long, with the last drops of the learning '
            'rate as far from the end. That would be:\n'
            + _indented(_longer(config, key, length))
        )
    else:
        yield (
            f'Length: the base trains {length} {unit} from random weights '
            'already, and so does this config.'
        )
    if length and dropped_weights and not _warms_up(config):
        yield (
            'Warm-up: the base has none, and the first steps from random '
            'weights may diverge at the full learning rate. Put in front of '
            "param_scheduler: dict(type='LinearLR', start_factor=0.001, "
            'by_epoch=False, begin=0, end=500).'
        )


def exploration_advice(config: Config) -> Iterator[str]:
    """When the structure should be fixed."""
    steps = ''
    length = (config.get('train_cfg') or {}).get('max_iters')
    if length:
        steps = f'Here it makes {len(fit_steps(length))} steps. '
    yield (
        f'Exploration: at most 90 steps over the first {END:.0%} of '
        f'training, some hundred iterations apart. {steps}What is left then '
        'has to train: in runs of a few thousand iterations, end=0.5 in '
        'CHEXHook was better.'
    )


def norm_advice(
    graph: ChannelGraph, groups: Iterable[ChannelGroup]
) -> Iterator[str]:
    """Which explored parts have no norm layers, whose scales rank channels."""
    calls = Counter(work.module for work in graph.work)
    bare = [m for g in groups if not _has_scale(g) for m in set(g.modules)]
    if not bare:
        return
    parts = sorted({_part(module) for module in bare})
    yield (
        'Norms: these parts have explored layers without a norm layer: '
        f'{", ".join(parts)}. Their channels are ranked by their weights. '
        'From random weights norm layers help them to learn, too. Where a '
        'part takes '
        "norm_cfg, write norm_cfg=dict(type='BN', requires_grad=True)"
        + (
            "; dict(type='GN', num_groups=32, requires_grad=True) where a "
            'layer runs on several levels, whose statistics differ.'
            if any(calls[module] > 1 for module in bare)
            else '.'
        )
    )


def input_advice(config: Config) -> Iterator[str]:
    """Images that are not scaled suit the weights they come from only."""
    preprocess = config.model.get('data_preprocessor') or {}
    std = preprocess.get('std')
    if std and all(value == 1 for value in std):
        yield (
            'Input: std is 1, as the pre-trained weights of the base want '
            'it. Random weights are drawn for inputs around 1:\n    '
            'model = dict(data_preprocessor=dict(std=[58.395, 57.12, '
            '57.375]))'
        )


def pinned_lines(graph: ChannelGraph) -> list[str]:
    """What cannot be cut and why, most channels first."""
    reasons: Counter[str] = Counter()
    for group in graph.groups.values():
        if group.pinned:
            reasons[group.pinned] += group.size
    ranked = reasons.most_common()
    lines = [f'{count} channels: {why}' for why, count in ranked[:SHOWN]]
    rest = ranked[SHOWN:]
    if rest:
        lines.append(
            f'{sum(count for _, count in rest)} channels for {len(rest)} '
            'more reasons; tools/analyze.py lists them'
        )
    if graph.unknown_ops:
        lines += [f'no rule for {op}' for op in graph.unknown_ops]
    return lines


def _longer(config: Config, key: str, length: int) -> list[str]:
    """The schedule of the base, stretched."""
    more = length * LONGER
    width = WIDTH - len('#     ')  # it stands in a comment
    lines = [assignment('train_cfg', {key: more})]
    schedulers = config.get('param_scheduler')
    if isinstance(schedulers, (list, tuple)):
        stretched = [_stretched(dict(s), length, more) for s in schedulers]
        lines.append(assignment('param_scheduler', stretched, width=width))
    return [line for text in lines for line in text.splitlines()]


def _stretched(scheduler: dict, length: int, more: int) -> dict:
    """One scheduler that ends with the run instead of with the base's."""
    for key in ('end', 'T_max'):
        if scheduler.get(key) == length:
            scheduler[key] = more
    if scheduler.get('end') == more and 'milestones' in scheduler:
        scheduler['milestones'] = [
            more - (length - milestone)
            for milestone in scheduler['milestones']
        ]
    return scheduler


def _warms_up(config: Config) -> bool:
    schedulers = config.get('param_scheduler') or []
    schedulers = schedulers if isinstance(schedulers, list) else [schedulers]
    return any(
        name in str(scheduler.get('type'))
        for scheduler in schedulers
        for name in WARM_UPS
    )


def _indented(lines: list[str]) -> str:
    return '\n'.join(f'    {line}' for line in lines)


def _has_scale(group: ChannelGroup) -> bool:
    return bool(group.with_role(Role.SCALE))


def _part(module: str) -> str:
    """The part of a model that a module is in; those of RoI heads apart."""
    names = module.split('.')
    depth = 2 if names[0] == 'roi_head' else 1
    return '.'.join(names[:depth])
