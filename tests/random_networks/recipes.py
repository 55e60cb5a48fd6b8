"""Random networks of many kinds of blocks, and the recipes they come from.

The same recipe gives the same network, and every recipe has a number.
"""

import random
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

from . import (  # noqa: F401  (fill the table)
    attention,
    composed,
    counting,
    dividing,
    functions,
    gates,
    moving,
    normed,
    ordinary,
    space,
    weights,
)
from .block import BLOCKS, built, conv

# Blocks that every part of the library knows, in training as well.
ORDINARY = sorted(
    n for n, kind in BLOCKS.items() if kind.__module__ == ordinary.__name__
)


@dataclass(frozen=True)
class Stage:
    """Blocks side by side, joined by 'cat' or 'sum'.

    Attributes:
        blocks: (name, width) of each.
        join: How the results of several are joined.
    """

    blocks: tuple[tuple[str, int], ...]
    join: str = 'cat'


@dataclass(frozen=True)
class Recipe:
    """What a network is made of.

    Attributes:
        stages: One after the other, behind a stem and before two heads.
        seed: Of weights, statistics and inputs.
        size: Height and width of the input.
        divides: Whether an output is divided by a number of channels.
    """

    stages: tuple[Stage, ...]
    seed: int = 0
    size: int = 8
    divides: bool = False

    @property
    def kinds(self) -> list[type]:
        return [BLOCKS[n] for stage in self.stages for n, _ in stage.blocks]

    @property
    def is_counted(self) -> bool:
        return all(kind.is_counted for kind in self.kinds)

    def without(self, number) -> 'Recipe':
        """The recipe with one stage less."""
        stages = self.stages[:number] + self.stages[number + 1 :]
        return replace(self, stages=stages)

    def build(self, dtype=torch.float32):
        """The network in eval mode, and an input."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            model = randomised(Network(self).eval())
            inputs = torch.randn(2, 3, self.size, self.size)
        return model.to(dtype), inputs.to(dtype)


class Parallel(nn.Module):
    """The blocks of one stage."""

    def __init__(self, into, stage):
        super().__init__()
        self.join = stage.join
        blocks, widths = zip(*(built(n, into, w) for n, w in stage.blocks))
        self.blocks = nn.ModuleList(blocks)
        self.out = sum(widths) if self.join == 'cat' else min(widths)
        if self.join == 'sum':
            self.fit = nn.ModuleList(conv(w, self.out) for w in widths)

    def forward(self, x):
        parts = [each(x) for each in self.blocks]
        if self.join == 'cat':
            return torch.cat(parts, 1)
        return sum(fit(part) for fit, part in zip(self.fit, parts))


class Network(nn.Module):
    """Stages one after the other; features and a flattened vector leave."""

    def __init__(self, recipe):
        super().__init__()
        self.divides = recipe.divides
        self.stem, into = conv(3, 6), 6
        self.stages = nn.ModuleList()
        for stage in recipe.stages:
            self.stages.append(Parallel(into, stage))
            into = self.stages[-1].out
        self.head = conv(into, 5)
        self.hidden, self.last = nn.Linear(16 * into, 7), nn.Linear(7, 2)

    def forward(self, x):
        x = self.stem(x)
        for each in self.stages:
            x = each(x)
        flat = F.adaptive_avg_pool2d(x, 4).flatten(1)
        vector = self.last(self.hidden(flat).relu())
        if self.divides:
            vector = vector / x.shape[1] ** 0.5
        return [self.head(x), self.head(F.avg_pool2d(x, 2))], vector


class Alone(nn.Module):
    """One block behind a convolution, or at the input; two layers read it."""

    def __init__(self, name, width):
        super().__init__()
        into = 3 if BLOCKS[name].has_own_channels else 8
        self.stem = nn.Identity() if into == 3 else conv(3, into)
        self.block, out = built(name, into, width)
        self.head, self.last = conv(out, 5), conv(out, 4)

    def forward(self, x):
        x = self.block(self.stem(x))
        return self.head(x), self.last(x.relu())


def alone(name, width=8, seed=0):
    """A network of one block in eval mode, and an input."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = randomised(Alone(name, width).eval())
        return model, torch.randn(2, 3, 8, 8)


def recipe(number):
    """The recipe of that number: 1 to 6 blocks, some side by side."""
    draw = random.Random(number)
    left, stages = draw.randint(1, 6), []
    while left:
        count = min(left, 2 if draw.random() < 0.25 else 1)
        left -= count
        blocks = tuple(
            (draw.choice(sorted(BLOCKS)), draw.randint(3, 12))
            for _ in range(count)
        )
        stages.append(Stage(blocks, draw.choice(('cat', 'sum'))))
    return Recipe(
        tuple(stages), number, draw.choice((8, 8, 12)), draw.random() < 0.1
    )


@st.composite
def networks(draw):
    """A network of ordinary blocks, drawn by hypothesis."""
    names = draw(st.lists(st.sampled_from(ORDINARY), min_size=1, max_size=5))
    widths = draw(
        st.lists(st.integers(3, 12), min_size=len(names), max_size=len(names))
    )
    stages = tuple(Stage((each,)) for each in zip(names, widths))
    return Recipe(stages, draw(st.integers(0, 99))).build()[0]


def randomised(model):
    """The model with weights and statistics that are nowhere neutral."""
    for name, tensor in model.state_dict().items():
        if name.endswith('running_var'):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.uniform_(-0.5, 0.5)
    return model
