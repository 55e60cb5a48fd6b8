"""The check by replay: a narrow model is run to see that it can be.

An operator trace cannot tell a constant of the code (`x[:, :12]`) from
`x.shape[1] // 2`. So a copy is cut at random and run with the labels that it
has kept: where channels then part, or meet others than before, they are tied
more tightly or pinned. After a replay that finds nothing the graph is a fact.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count

import torch
from torch import Tensor, nn

from chex_mm.channels.facts import Facts
from chex_mm.channels.flow import Flow
from chex_mm.channels.graph import ChannelGraph
from chex_mm.channels.labels import without_repeats
from chex_mm.channels.modes import trace_both_modes
from chex_mm.channels.rules import RULES
from chex_mm.channels.rules.movement import regroup
from chex_mm.channels.trace import (
    RunFailed,
    Runs,
    follow,
    graph_of,
    named_tensors,
    tensors_in,
    trace,
)
from chex_mm.channels.traceable import traceable
from chex_mm.errors import ChexError
from chex_mm.surgery.cut import mask_channels, slim
from chex_mm.surgery.modules import UnknownModule
from chex_mm.surgery.narrow_flow import (
    IN_PYTHON,
    NEXT_SPLIT,
    Disagreement,
    Finding,
    NarrowFlow,
    Origin,
)
from chex_mm.surgery.resize import all_tensors

SEEDS = 0, 1  # two cuts: in one, two numbers may be equal by chance
MOST_SEEDS = 8  # up to it where the model itself fails on such numbers
ROUNDS = 100  # every round ties or pins at least one more channel


def trace_channels(
    model: nn.Module,
    inputs,
    also: Sequence = (),
    strict: bool = False,
    rules=None,
) -> ChannelGraph:
    """Finds the channel groups of a model by running a copy of it.

    Args:
        model: Stays as it is, with its buffers and the random states.
        inputs: Forward arguments as a tuple, or a callable `run(model)`;
            the multiply-adds of this pass are what the model costs.
        also: More callables `run(model)` whose couplings count as well: the
            training loss, post-processing.
        strict: Raise when channels enter an operator without a rule.
        rules: Instead of the registered ones: `{**RULES, op: rule}`.

    Raises:
        ChexError: The model cannot be run, or `strict` and channels entered
            unknown operators; lists them.
    """
    model = traceable(model)
    runs = Runs.of(inputs, also, rules)
    splits: dict[str, str] = {}
    pins: list[tuple[Tensor, str]] = []
    facts, runs = trace_both_modes(model, runs, splits)
    if facts.rows:
        splits.update(dict.fromkeys(facts.rows, 'rows'))
        facts = trace(model, runs, splits)
    for _ in range(ROUNDS):
        graph = graph_of(model, facts)
        if strict and graph.unknown_ops:
            raise ChexError(graph.unknown_text())
        origin = Origin(graph, facts, splits)
        found = next(
            filter(None, (replay(model, runs, origin, s) for s in SEEDS)), None
        )
        if found is None:
            return graph
        if found.split:
            splits.update([found.split])
            facts = trace(model, runs, splits)
            facts.pins += pins
        else:
            pins.append((found.labels, found.reason))
            facts.pins.append(pins[-1])
    raise ChexError(
        f'After {ROUNDS} replays a narrow copy of the model still differs '
        f'from it; the last time: {found.reason}.'
    )


class FailsUncut(ChexError):
    """The model fails under masks alone, so that no size is to blame."""


def replay(
    model: nn.Module, runs: Runs, origin: Origin, seed: int
) -> Finding | None:
    """Runs a randomly cut copy; what it finds wrong, or None.

    Where the model fails under the same masks before any cut (a loss that
    needs a positive sample), other masks are drawn.

    Raises:
        ChexError: The copy fails and no channel accounts for it, or the
            model fails under all masks.
    """
    for attempt in range(seed, MOST_SEEDS, len(SEEDS)):
        keep = random_masks(origin.graph, attempt)
        try:
            return _replay(model, runs, origin, keep) if keep else None
        except FailsUncut as error:
            failure = error
    raise failure


def _replay(model: nn.Module, runs: Runs, origin: Origin, keep):
    try:
        narrow = slim(model, origin.graph, keep)
    except UnknownModule as error:
        return _undeclared(model, origin, error)
    rules = RULES if runs.rules is None else runs.rules
    flow = NarrowFlow(narrow, rules, origin, keep)
    try:
        follow(narrow, runs, flow)
        is_alike = flow.ran_alike  # else the data say so, or a size does
        if not is_alike:
            flow.check_ties()
        if not is_alike or flow.new_numbers(origin.facts):
            masked = _trace_masked(model, runs, origin, keep)
            flow.check_branches(masked)
            flow.check_numbers(masked)
    except Disagreement as disagreement:
        return disagreement.finding
    except RunFailed as failure:
        if isinstance(failure.__cause__, Disagreement):
            return flow.find_cause(failure.__cause__.finding)
        _check_uncut(model, runs, origin, keep, failure)
        return flow.find_cause(_broken(flow, failure))
    return None


def _trace_masked(model: nn.Module, runs: Runs, origin: Origin, keep) -> Facts:
    """What the model of dense size does on the numbers of a narrow copy."""
    masked = copy.deepcopy(model)
    mask_channels(masked, origin.graph, keep)
    return trace(masked, runs, origin.splits)


def _check_uncut(model, runs, origin, keep, failure: RunFailed) -> None:
    """Raises FailsUncut if masks alone lead to the same failure."""
    try:
        _trace_masked(model, runs, origin, keep)
    except RunFailed as same:
        if str(same) == str(failure):
            raise FailsUncut(
                f'With channels masked, before any cut: {failure}. The model '
                'itself cannot run on such numbers; trace it on data, or '
                'with weights, on which it can.'
            ) from failure


def random_masks(graph: ChannelGraph, seed: int = 0) -> dict[str, Tensor]:
    """Keeps one to two thirds of every free group, at least two if it can.

    At seed 0 groups of the same size keep different numbers: that of one
    must not pass for that of another.
    """
    generator = torch.Generator().manual_seed(seed)
    keep, seen = {}, defaultdict(count)
    for name, group in graph.free.items():
        least, most = -(-group.size // 3), -(-2 * group.size // 3)
        most = min(max(most, 2), group.size - 1)
        least = min(max(least, 2), most)
        rank = next(seen[group.size])
        if seed:
            rank = int(torch.randint(group.size, (), generator=generator))
        number = most - rank % (most - least + 1)
        order = torch.randperm(group.size, generator=generator)
        keep[name] = torch.zeros(group.size, dtype=torch.bool)
        keep[name][order[:number]] = True
    return keep


def _undeclared(
    model: nn.Module, origin: Origin, error: UnknownModule
) -> Finding:
    """What a module owns that does not say how its sizes follow."""
    tensor = all_tensors(model)[error.tensor]
    names = {n for n, t in named_tensors(model).items() if t is tensor}
    spaces = origin.facts.spaces.values()
    labels = [s.labels for s in spaces if s.tensor in names]
    return Finding(torch.cat(labels), str(error).partition(' Declare it')[0])


def _broken(flow: NarrowFlow, failure: RunFailed) -> Finding:
    """What must be pinned because the narrow copy cannot be run."""
    error = failure.__cause__
    message = str(error).strip().partition('\n')[0]
    message = f'{type(error).__name__}: {message}'
    for labels, place in _suspects(flow, failure):
        labels = labels[labels < len(flow.origin.is_free)]
        if len(labels):
            call, split = flow.running, None
            if call is not None and flow.rule_of(call) is regroup:
                mode = flow.splits.get(call.place, 'slots')
                split = call.place, NEXT_SPLIT[mode]
            reason = f'{IN_PYTHON}: {place} fails after a cut ({message})'
            # With those only that this cut has left, others would fail.
            labels = flow.origin.whole_groups(labels)
            return Finding(labels, reason, split)
    raise ChexError(
        'A narrow copy of the model cannot be run, and no channel accounts '
        f'for it: {message}'
    ) from failure


def _suspects(
    flow: NarrowFlow, failure: RunFailed
) -> Iterator[tuple[Tensor, str]]:
    """Labels that a failure may be about, the likeliest first."""
    if flow.running is not None:
        yield _labels_of(flow, flow.running.inputs), flow.running.place
        return
    inner = failure.path[-1][0] if failure.path else ''
    modules = [
        (_labels_of(flow, tensors_in(arguments)), name or 'the model')
        for name, arguments in reversed(failure.path)
    ]
    results = [
        (_labels_of(flow, tensors_in(call.out)), inner or 'the model')
        for call in reversed(flow.recent)
    ]
    # A module that has computed something stumbles over its own results.
    if flow.recent and flow.recent[-1].module.startswith(inner):
        yield from results[:1]
    yield from modules
    yield from results


def _labels_of(flow: Flow, tensors) -> Tensor:
    labels = [torch.zeros(0, dtype=torch.long)]
    for tensor in tensors:
        if flow.is_weight(tensor):
            labels += [v for v in flow.axes(tensor) if v is not None]
        elif flow.has_channels(tensor):
            labels.append(without_repeats(flow.labels(tensor)).flatten())
    labels = torch.unique(torch.cat(labels))
    return labels[labels != 0]
