"""The property: masked and narrow are one network, whatever is cut.

Every recipe ends in one verdict: held, refused (the library says that it
cannot), wrong, crashed, or void (the dense network itself is not finite).
"""

import copy
import random
import traceback
from dataclasses import dataclass, field

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

import chex_mm
from chex_mm.trace.trace import RunFailed

# Of the largest output. In float64 what remains is no rounding.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


class Wrong(Exception):
    """Says what differs."""


def anywhere(size, draw):
    share = draw.uniform(0.1, 0.9)
    return [draw.random() < share for _ in range(size)]


def all_but_one(size, draw):
    gone = draw.randrange(size)
    return [i != gone for i in range(size)]


def prefix(size, draw):
    count = draw.randint(1, size)
    return [i < count for i in range(size)]


def suffix(size, draw):
    return prefix(size, draw)[::-1]


# Which channels of a group stay; a group always keeps one.
MASKS = {
    'anywhere': anywhere,
    'floor': lambda size, draw: [False] * size,
    'all but one': all_but_one,
    'lower half': lambda size, draw: [i < size / 2 for i in range(size)],
    'upper half': lambda size, draw: [i >= size / 2 for i in range(size)],
    'even': lambda size, draw: [i % 2 == 0 for i in range(size)],
    'odd': lambda size, draw: [i % 2 == 1 for i in range(size)],
    'prefix': prefix,
    'suffix': suffix,
}
ONE_GROUP = 'one group'
KINDS_OF_MASKS = [*MASKS, ONE_GROUP]


def masks(graph, kind, draw):
    """Which channels stay, of all free groups or of a single one."""
    chosen = sorted(graph.free)
    if kind == ONE_GROUP:
        chosen, kind = chosen and [draw.choice(chosen)], 'anywhere'
    keep = {}
    for name in chosen:
        size = graph.free[name].size
        kept = MASKS[kind](size, draw)
        if not any(kept):
            kept[draw.randrange(size)] = True
        keep[name] = torch.tensor(kept)
    return keep


class Called(TorchFunctionMode):
    """Notes which functions of torch are called."""

    def __init__(self):
        super().__init__()
        self.functions = set()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.functions.add(function)
        return function(*args, **(kwargs or {}))


def has_uncounted_products(model, inputs, keep):
    """Whether torch multiplies elements where a matrix has one row left.

    Its einsum does, and its counter does not see that.
    """
    if all(mask.sum() > 1 for mask in keep.values()):
        return False
    with torch.no_grad(), Called() as called:
        model(inputs)
    return torch.einsum in called.functions


def counted(model, inputs):
    """Multiply-adds by an independent counter, which knows no fused kernel."""
    torch.backends.mha.set_fastpath_enabled(False)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            model(inputs)
    torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops() // 2


def compare(dense, masked, narrow, tolerance):
    """Raises Wrong where outputs of masked and narrow are not the same."""
    leaves, structures = zip(*map(tree_flatten, (dense, masked, narrow)))
    if structures[1] != structures[2]:
        raise Wrong(f'{structures[1]} and {structures[2]} leave')
    for number, (whole, a, b) in enumerate(zip(*leaves)):
        if a.shape != b.shape:
            raise Wrong(f'output {number}: {a.shape} and {b.shape}')
        # A narrow network may be so itself: all that it divides by is dead.
        for name, each, other in (('masked', a, b), ('narrow', b, a)):
            if (whole.isfinite() & ~each.isfinite() & other.isfinite()).any():
                raise Wrong(f'output {number}: {name} is not finite')
        both = a.isfinite() & b.isfinite()
        if not both.any():
            continue
        a, b = a[both], b[both]
        gap = float((a - b).abs().max() / a.abs().max().clamp(min=1e-6))
        if gap > tolerance:
            raise Wrong(f'output {number}: {gap:.2g} apart')


def is_finite(model, inputs):
    """Whether a training pass gives finite losses and gradients."""
    model = copy.deepcopy(model).train()
    leaves = tree_flatten(model(inputs))[0]
    sum(each.square().mean() for each in leaves).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return all(bool(each.isfinite().all()) for each in leaves + gradients)


@dataclass
class Trial:
    """One network, traced, to be cut in many ways.

    Attributes:
        model: In eval mode.
        inputs: What it takes.
        is_counted: Whether FLOPs can be compared.
    """

    model: torch.nn.Module
    inputs: torch.Tensor
    is_counted: bool = True
    graph: object = field(init=False)

    def __post_init__(self):
        self.graph = chex_mm.trace_channels(self.model, (self.inputs,))
        with torch.no_grad():
            self.dense = self.model(self.inputs)

    @property
    def is_void(self):
        leaves = tree_flatten(self.dense)[0]
        return not all(bool(each.isfinite().all()) for each in leaves)

    def check(self, keep):
        """Raises Wrong unless masked is narrow and costs what was said."""
        masked = self.masked(keep)
        narrow = chex_mm.slim(self.model, self.graph, keep)
        with torch.no_grad():
            both = masked(self.inputs), narrow(self.inputs)
        compare(self.dense, *both, TOLERANCE[self.inputs.dtype])
        counts = self.graph.counts(keep)
        params = sum(p.numel() for p in narrow.parameters())
        if self.graph.params(counts) != params:
            said = self.graph.params(counts)
            raise Wrong(f'{params} parameters, {said} are said')
        if not self.is_counted or self.graph.unknown_ops:
            return
        if not has_uncounted_products(narrow, self.inputs, keep):
            cost, said = counted(narrow, self.inputs), self.graph.flops(counts)
            if cost != said:
                raise Wrong(f'{cost} multiply-adds, {said} are said')

    def check_training(self, keep):
        """Raises Wrong if masks make what is not finite in training."""
        if is_finite(self.model, self.inputs) and not is_finite(
            self.masked(keep), self.inputs
        ):
            raise Wrong('training of the masked network is not finite')

    def masked(self, keep):
        model = copy.deepcopy(self.model)
        chex_mm.mask_channels(model, self.graph, keep)
        return model


@dataclass(frozen=True)
class Verdict:
    """What became of a recipe.

    Attributes:
        outcome: 'held', 'refused', 'wrong', 'crashed' or 'void'.
        masks: Number of cuts that were compared.
        note: What was found, and under which kind of mask.
        channels: Kind of block to its (free, all) channels.
    """

    outcome: str
    masks: int = 0
    note: str = ''
    channels: dict = field(default_factory=dict)


def free_channels(recipe, graph):
    """Kind of block to its (free, all) channels."""
    found = {}
    for group in graph.groups.values():
        path = group.slices[0].tensor.split('.')
        if path[0] == 'stages' and path[2] == 'blocks':
            kind = recipe.stages[int(path[1])].blocks[int(path[3])][0]
            free, size = found.get(kind, (0, 0))
            found[kind] = (
                free + group.size * (not group.pinned),
                (size + group.size),
            )
    return found


def is_refusal(error):
    return isinstance(error, chex_mm.ChexError) and not isinstance(
        error, RunFailed
    )


def judge(recipe, count, dtype=torch.float32):
    """The verdict on a recipe under `count` cuts.

    What differs in float32 is tried in float64, where rounding is no excuse
    and no reason: an index of the largest may be another by rounding.
    """
    note = 'trace'
    try:
        trial = Trial(*recipe.build(dtype), recipe.is_counted)
        if trial.is_void:
            return Verdict('void', note='the dense network is not finite')
        draw = random.Random(recipe.seed)
        for number in range(count):
            note = draw.choice(KINDS_OF_MASKS)
            keep = masks(trial.graph, note, draw)
            trial.check(keep)
            if number == 0 and recipe.seed % 5 == 0:
                trial.check_training(keep)
    except Wrong as error:
        if dtype == torch.float32:
            return judge(recipe, count, torch.float64)
        return Verdict('wrong', note=f'{note}: {error}')
    except Exception as error:
        # A recipe runs, so that it fails while it is traced is no refusal.
        if is_refusal(error):
            return Verdict('refused', note=f'{note}: {error}')
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f'{type(error).__name__}: {error}'[:300]
        return Verdict(
            'crashed', note=f'{note}: {said} ({where.filename}:{where.lineno})'
        )
    return Verdict('held', count, channels=free_channels(recipe, trial.graph))


def smallest(recipe, count):
    """A recipe with as few stages as still show the fault."""
    outcome = judge(recipe, count).outcome
    for number in reversed(range(len(recipe.stages))):
        fewer = recipe.without(number)
        if fewer.stages and judge(fewer, count).outcome == outcome:
            recipe = fewer
    return recipe
