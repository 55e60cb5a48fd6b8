"""What exploration tells: log lines, and scalars for the visualizer."""

from __future__ import annotations

from collections import Counter

from mmengine.runner import Runner

from ...budget.allocation import reachable_range
from ...strategies.exploration import ChannelExplorer
from ...strategies.plan import StepReport

NAMES = {'flops': 'FLOPs', 'params': 'parameters', 'channels': 'channels'}


def start_summary(explorer: ChannelExplorer) -> str:
    """What is explored, what is not and why, and when."""
    graph, budget = explorer.graph, explorer.budget
    schedule = explorer.schedule
    cost = _cost_name(explorer)
    low, high = reachable_range(explorer.space)
    channels = sum(group.size for group in explorer.groups.values())
    lines = [
        f'CHEX explores {channels} channels in {len(explorer.groups)} of '
        f'{len(graph.groups)} channel groups, in {len(schedule)} steps from '
        f'iteration {schedule[0]} to {schedule[-1]}.',
        f'{cost} now {explorer.share():.2f}, budget {budget.keep:.2f} '
        f'(reachable: {low:.2f} to {high:.2f}); dense: '
        f'{graph.flops() / 1e9:.3g} GFLOPs, '
        f'{graph.params() / 1e6:.3g} M parameters.',
    ]
    reasons: Counter[str] = Counter()
    for group in graph.groups.values():
        if group.pinned:
            reasons[group.pinned] += group.size
    lines += [
        f'pinned: {count} channels, {reason}'
        for reason, count in reasons.most_common()
    ]
    if graph.unknown_ops:
        lines.append(
            f'{len(graph.unknown_ops)} operators carry channels but have no '
            'rule; what they touch is not pruned:'
        )
        lines += [f'  {op}' for op in graph.unknown_ops]
    return '\n'.join(lines)


def end_summary(explorer: ChannelExplorer, compute: float) -> str:
    """What the run ends with, and its compute as a share of dense."""
    counts = {n: int(mask.sum()) for n, mask in explorer.keep.items()}
    active, total = sum(counts.values()), sum(map(len, explorer.keep.values()))
    state = 'fixed' if explorer.is_finished else 'not finished'
    return (
        f'CHEX: structure {state} after {explorer.steps_done} of '
        f'{explorer.total_steps} steps; {active} of {total} explored '
        f'channels active, {_cost_name(explorer)} {explorer.share():.3f} '
        f'of dense (budget {explorer.budget.keep:.2f}); '
        f'{explorer.graph.flops(counts) / 1e9:.3g} GFLOPs, '
        f'{explorer.graph.params(counts) / 1e6:.3g} M parameters. Training '
        f'took {compute:.1%} of the compute of dense training '
        f'({explorer.settings.execution} execution).'
    )


def report_step(
    runner: Runner,
    explorer: ChannelExplorer,
    report: StepReport,
    seconds: float,
) -> None:
    """Logs one line and adds the scalars of one step."""
    runner.logger.info(
        f'CHEX step {report.step}/{explorer.total_steps}: '
        f'{_cost_name(explorer)} {report.share:.2f}, +{report.added} '
        f'-{report.removed} channels, {seconds:.1f} s'
    )
    runner.visualizer.add_scalars(
        {
            f'chex/{explorer.budget.type}_share': report.share,
            'chex/regrow_factor': report.regrow_factor,
            'chex/added': report.added,
            'chex/removed': report.removed,
            'chex/seconds': seconds,
            **{
                f'chex/active/{name}': count
                for name, count in report.active.items()
            },
        },
        step=runner.iter + 1,
    )


def _cost_name(explorer: ChannelExplorer) -> str:
    name = NAMES.get(explorer.budget.type, explorer.budget.type)
    return name if explorer.budget.of == 'model' else f'{name} of the scope'
