"""The check by replay: a narrow model is run to see that it can be.

An operator trace cannot tell a constant of the code (`x[:, :12]`) from
`x.shape[1] // 2`. So a copy is cut at random and run with the labels that it
has kept: whatever then fails, or meets other channels than before, is pinned
and the reason says so. After a replay that finds nothing the graph is a fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from chex_mm.channels.facts import Components, Facts, Space
from chex_mm.channels.flow import Flow
from chex_mm.channels.graph import ChannelGraph
from chex_mm.channels.labels import meets, without_repeats
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
from chex_mm.errors import ChexError
from chex_mm.surgery.cut import slim

ROUNDS = 100  # every round pins at least one more channel
NEXT_SPLIT = {'slots': 'rows', 'rows': 'pin'}


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
    runs = Runs.of(inputs, also, rules)
    splits: dict[str, str] = {}
    facts = trace(model, runs, splits)
    for _ in range(ROUNDS):
        graph = graph_of(model, facts)
        if strict and graph.unknown_ops:
            raise ChexError(graph.unknown_text())
        found = replay(model, runs, graph, facts, splits)
        if found is None:
            return graph
        if found.split:
            splits[found.split] = NEXT_SPLIT[splits.get(found.split, 'slots')]
            facts = trace(model, runs, splits)
        else:
            facts.pins.append((found.labels, found.reason))
    raise ChexError(
        f'After {ROUNDS} replays a narrow copy of the model still differs '
        f'from it; the last time: {found.reason}.'
    )


@dataclass(frozen=True, eq=False)
class Finding:
    """Why a narrow copy is not the model it was cut from.

    Attributes:
        labels: What must not be cut.
        reason: The operator, the module and what happened there.
        split: Place of a view that splits channels, if that is what fails.
    """

    labels: Tensor
    reason: str
    split: str | None = None


class _Disagreement(Exception):
    def __init__(self, finding: Finding):
        super().__init__(finding.reason)
        self.finding = finding


class _Replay(Flow):
    """A flow in which every new fact is a disagreement."""

    place = ''

    def flow(self, call, out) -> None:
        self.place = call.place
        super().flow(call, out)

    def tie(self, a: Tensor, b: Tensor, what: str = '') -> None:
        super().tie(a, b, what)
        pairs = meets(a, b)
        if len(pairs):
            self._disagree(
                pairs, f'after a cut other channels meet at {self.place}'
            )

    def pin(self, labels: Tensor, reason: str) -> None:
        self._disagree(labels, f'after a cut {reason}')

    def _disagree(self, labels: Tensor, reason: str) -> None:
        labels = torch.unique(without_repeats(labels))
        labels = labels[labels != 0]
        if len(labels):
            raise _Disagreement(Finding(labels, reason))


def replay(
    model: nn.Module,
    runs: Runs,
    graph: ChannelGraph,
    facts: Facts,
    splits: dict[str, str],
) -> Finding | None:
    """Runs a randomly cut copy; what it finds wrong, or None."""
    keep = random_masks(graph)
    if not keep:
        return None
    narrow = slim(model, graph, keep)
    flow = _Replay(
        named_tensors(narrow),
        _kept_facts(graph, facts, keep),
        RULES if runs.rules is None else runs.rules,
        splits,
    )
    try:
        follow(narrow, runs, flow)
    except RunFailed as failure:
        found = _finding(failure)
        # Labels first met in the replay belong to nothing that was cut.
        known = found.labels[found.labels < facts.size]
        if not len(known):
            raise ChexError(
                'A narrow copy of the model cannot be run, and no channel '
                f'accounts for it: {failure.__cause__}'
            ) from failure
        return replace(found, labels=known)
    return None


def random_masks(graph: ChannelGraph, seed: int = 0) -> dict[str, Tensor]:
    """Keeps one to two thirds of every free group, at least two if it can."""
    generator = torch.Generator().manual_seed(seed)
    keep = {}
    for name, group in graph.free.items():
        least, most = -(-group.size // 3), -(-2 * group.size // 3)
        most = min(max(most, 2), group.size - 1)
        least = min(max(least, 2), most)
        count = int(torch.randint(least, most + 1, (), generator=generator))
        order = torch.randperm(group.size, generator=generator)
        keep[name] = torch.zeros(group.size, dtype=torch.bool)
        keep[name][order[:count]] = True
    return keep


def _kept_facts(graph: ChannelGraph, facts: Facts, keep) -> Facts:
    """Labels of the narrow copy: roots of what was kept, 0 if pinned."""
    components = Components(facts)
    stays = {
        place: torch.ones(len(space.labels), dtype=torch.bool)
        for place, space in facts.spaces.items()
    }
    for name, mask in keep.items():
        for piece in graph.groups[name].slices:
            stays[piece.tensor, piece.dim][piece.positions(~mask)] = False
    kept = Facts(size=facts.size)
    for place, space in facts.spaces.items():
        roots = components.roots[space.labels.numpy()]
        roots[components.is_pinned[roots]] = 0
        labels = torch.from_numpy(roots)[stays[place]]
        kept.spaces[place] = Space(*place, space.role, labels)
    return kept


def _finding(failure: RunFailed) -> Finding:
    """What must be pinned because of a failure."""
    error, flow = failure.__cause__, failure.flow
    if isinstance(error, _Disagreement):
        return error.finding
    message = str(error).strip().partition('\n')[0]
    if flow.running is not None:
        call = flow.running
        return Finding(
            _labels_of(flow, call.inputs),
            f'a size is written in Python: {call.place} fails after a cut '
            f'({message})',
            call.place if flow.rule_of(call) is regroup else None,
        )
    for name, arguments in reversed(failure.path):
        labels = _labels_of(flow, tensors_in(arguments))
        if len(labels):
            return Finding(
                labels,
                f'a size is written in Python: {name or "the model"} fails '
                f'after a cut ({type(error).__name__}: {message})',
            )
    raise ChexError(
        f'A narrow copy of the model fails: {message}'
    ) from failure


def _labels_of(flow: Flow, tensors) -> Tensor:
    labels = [torch.zeros(0, dtype=torch.long)]
    for tensor in tensors:
        if flow.is_weight(tensor):
            labels += [v for v in flow.axes(tensor) if v is not None]
        elif flow.has_channels(tensor):
            labels.append(without_repeats(flow.labels(tensor)).flatten())
    labels = torch.unique(torch.cat(labels))
    return labels[labels != 0]
