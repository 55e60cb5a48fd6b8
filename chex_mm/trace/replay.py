"""The check by replay: a narrow model is run to see that it can be.

An operator trace cannot tell a constant of the code (`x[:, :12]`) from
`x.shape[1] // 2`. So a copy is cut at random and run with the labels that it
has kept: where channels then part, or meet others than before, they are tied
more tightly or pinned. After a replay that finds nothing the graph is a fact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ..dispatch.nested import tensors_in
from ..dispatch.randomness import kept_random_state
from ..errors import ChexError
from ..graph.graph import ChannelGraph
from ..surgery.copying import copy_of
from ..surgery.cut import mask_channels, slim
from ..surgery.modules import UnknownModule
from ..surgery.resize import all_tensors
from ..surgery.wrappers import traceable
from .comparison import Comparison, stirred
from .cuts import Aim, aimed_cuts, random_masks
from .facts import Facts
from .flow import Flow
from .grouping import Components
from .labels import without_repeats
from .modes import trace_both_modes
from .narrow_flow import IN_PYTHON, NarrowFlow
from .origin import NEXT_SPLIT, Disagreement, Finding, Origin
from .rules import RULES
from .rules.movement import regroup
from .side_by_side import Mismatch
from .trace import RunFailed, Runs, follow, graph_of, named_tensors, trace

ATTEMPTS = 4  # other masks, where the model itself fails on some
Places = list[tuple[tuple[str, int], Tensor]]  # tensor, dim; positions

ROUNDS = 100  # every round ties or pins at least one more channel


def trace_channels(
    model: nn.Module,
    inputs,
    also: Sequence = (),
    strict: bool = False,
    rules=None,
    repeats_cost: bool = False,
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
        repeats_cost: Whether a pass in `also` contains all of `inputs`, so
            that narrow copies need not run it twice.

    Raises:
        ChexError: The model cannot be run, or `strict` and channels entered
            unknown operators; lists them.
    """
    model = traceable(model)
    runs = Runs.of(inputs, also, rules)
    splits: dict[str, str] = {}
    pins: list[tuple[Places, str]] = []
    facts, runs = trace_both_modes(model, runs, splits)
    if facts.rows:
        splits.update(dict.fromkeys(facts.rows, 'rows'))
        facts = trace(model, runs, splits)
    replayed = runs.without_cost if repeats_cost and also else runs
    for _ in range(ROUNDS):
        components = Components(facts)
        graph = graph_of(model, facts, components)
        if strict and graph.unknown_ops:
            raise ChexError(graph.unknown_text())
        origin = Origin(graph, facts, splits, components)
        found = check(model, replayed, origin)
        if found is None:
            return graph
        if found.split:
            splits.update([found.split])
            facts = trace(model, runs, splits)
            facts.pins += [(_at(facts, place), why) for place, why in pins]
        else:
            pins.append((_places(facts, found.labels), found.reason))
            facts.pins.append((found.labels, found.reason))
    raise ChexError(
        f'After {ROUNDS} replays a narrow copy of the model still differs '
        f'from it; the last time: {found.reason}.'
    )


def _places(facts: Facts, labels: Tensor) -> Places:
    """Where the tensors of a model hold some labels.

    Another trace may give out other numbers.
    """
    return [
        (place, torch.isin(space.labels, labels).nonzero()[:, 0])
        for place, space in facts.spaces.items()
        if torch.isin(space.labels, labels).any()
    ]


def _at(facts: Facts, places: Places) -> Tensor:
    """The labels that a trace has given out for places."""
    found = [
        facts.spaces[place].labels[positions]
        for place, positions in places
        if place in facts.spaces
    ]
    return torch.cat(found)


class FailsUncut(ChexError):
    """The model fails under masks alone, so that no size is to blame."""


def check(model: nn.Module, runs: Runs, origin: Origin) -> Finding | None:
    """Cuts copies of a model in several ways; what is wrong, or None.

    The first copy runs under labels; whatever cut comes after it runs beside
    the masked model.

    Raises:
        ChexError: A copy fails and no channel accounts for it, or the model
            fails under all masks.
    """
    if not origin.graph.free:
        return None
    first, unnamed = _first_replay(model, runs, origin)
    if unnamed is not None and len(unnamed.labels):
        return unnamed
    comparison = Comparison(
        stirred(model), (runs.cost, *runs.also), origin.graph
    )
    aims = aimed_cuts(origin, first)
    for aim in (Aim(first), *aims) if unnamed else aims:
        found = _try_out(model, runs, origin, comparison, aim)
        if found is not None:
            return found
    if unnamed is not None:
        raise ChexError(
            'A narrow copy of the model cannot be run, and no channel '
            f'accounts for it: {unnamed.reason}'
        )
    return None


def _try_out(model, runs: Runs, origin: Origin, comparison, aim: Aim):
    """What is wrong under one cut, as finely as labels tell; or None."""
    if aim.is_at_take:
        found = _replayed(model, runs, origin, aim.keep)
        if found is not None:
            return found
    mismatch, aim = _mismatch(comparison, aim)
    if mismatch is None:
        return None
    has_steps = not aim.is_single
    if has_steps and not aim.is_at_take:
        found = _replayed(model, runs, origin, aim.keep)
        if found is not None:
            return found
    names, reason = comparison.causes(aim.keep, mismatch, has_steps)
    return Finding(origin.labels_of(names), reason) if names else None


def _mismatch(comparison: Comparison, aim: Aim) -> tuple[Mismatch | None, Aim]:
    """What a cut shows; of single channels what two of them show as well.

    Else results alone count, and that one fails (`squeeze()` of one channel)
    pins nothing: it says so itself.
    """
    mismatch = comparison.mismatch(aim.keep)
    if not aim.is_single or mismatch is None or mismatch.gap is not None:
        return mismatch, aim
    wider = comparison.mismatch(aim.widened.keep)
    if wider is not None:
        return wider, aim.widened
    if mismatch.is_failure:
        return None, aim
    return comparison.mismatch(aim.keep, has_steps=False), aim


def _replayed(model, runs: Runs, origin: Origin, keep) -> Finding | None:
    """What a replay finds, if labels tell anything."""
    try:
        found = replay(model, runs, origin, keep)
    except ChexError:
        return None
    return found if found and len(found.labels) else None


def _first_replay(model: nn.Module, runs: Runs, origin: Origin):
    """Masks that the model can run under, and what their replay finds.

    Where the model fails under some masks before any cut (a loss that needs
    a positive sample), others are drawn.
    """
    for seed in range(ATTEMPTS):
        keep = random_masks(origin.graph, seed)
        try:
            return keep, replay(model, runs, origin, keep)
        except FailsUncut as error:
            failure = error
    raise failure


def replay(model: nn.Module, runs: Runs, origin: Origin, keep):
    """Runs a cut copy under labels; what it finds wrong, or None."""
    try:
        narrow = slim(model, origin.graph, keep)
    except UnknownModule as error:
        return _undeclared(model, origin, error)
    rules = RULES if runs.rules is None else runs.rules
    flow = NarrowFlow(narrow, rules, origin, keep)
    try:
        follow(narrow, runs, flow)
        flow.check_ties()
    except Disagreement as disagreement:
        return disagreement.finding
    except RunFailed as failure:
        if isinstance(failure.__cause__, Disagreement):
            return flow.find_cause(failure.__cause__.finding)
        _check_uncut(model, runs, origin, keep, failure)

        def fails(labels: Tensor) -> bool:
            return _fails(model, runs, origin, keep, labels)

        return flow.find_cause(_broken(flow, failure, fails))
    return None


def _fails(model, runs: Runs, origin: Origin, keep, labels: Tensor) -> bool:
    """Whether a copy fails of which only groups with these labels are cut."""
    held = origin.masks_of(labels)
    chosen = {n: keep[n] for n, mask in held.items() if mask.any()}
    narrow = slim(model, origin.graph, chosen)
    try:
        with kept_random_state(), torch.no_grad():
            for run in (runs.cost, *runs.also):
                run(narrow)
    except Exception:
        return True
    return False


def _check_uncut(model, runs, origin, keep, failure: RunFailed) -> None:
    """Raises FailsUncut if masks alone lead to the same failure."""
    masked = copy_of(model)
    mask_channels(masked, origin.graph, keep)
    try:
        trace(masked, runs, origin.splits)
    except RunFailed as same:
        if str(same) == str(failure):
            raise FailsUncut(
                f'With channels masked, before any cut: {failure}. The model '
                'itself cannot run on such numbers; trace it on data, or '
                'with weights, on which it can.'
            ) from failure


def _undeclared(
    model: nn.Module, origin: Origin, error: UnknownModule
) -> Finding:
    """What a module owns that does not say how its sizes follow."""
    tensor = all_tensors(model)[error.tensor]
    names = {n for n, t in named_tensors(model).items() if t is tensor}
    spaces = origin.facts.spaces.values()
    labels = [s.labels for s in spaces if s.tensor in names]
    return Finding(torch.cat(labels), str(error).partition(' Declare it')[0])


def _broken(
    flow: NarrowFlow, failure: RunFailed, fails: Callable[[Tensor], bool]
) -> Finding:
    """What must be pinned because the narrow copy cannot be run.

    Args:
        flow: What is known of the copy.
        failure: What it raised.
        fails: Whether it does where only these labels' groups are cut.
    """
    error = failure.__cause__
    message = str(error).strip().partition('\n')[0]
    message = f'{type(error).__name__}: {message}'
    for labels, place in _suspects(flow, failure):
        labels = labels[labels < len(flow.origin.is_free)]
        if len(labels) and (flow.running is not None or fails(labels)):
            call, split = flow.running, None
            if call is not None and flow.rule_of(call) is regroup:
                mode = flow.splits.get(call.place, 'slots')
                split = call.place, NEXT_SPLIT[mode]
            reason = f'{IN_PYTHON}: {place} fails after a cut ({message})'
            # With those only that this cut has left, others would fail.
            labels = flow.origin.whole_groups(labels)
            return Finding(labels, reason, split)
    return Finding(torch.zeros(0, dtype=torch.long), message)


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
