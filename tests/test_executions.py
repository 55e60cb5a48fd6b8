"""The oracle: a sub-model trains the same whatever way it is held.

In double precision, so that rounding hides nothing.
"""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import chex_mm
from chex_mm.submodel.sub_model import SubModel

from .random_networks.block import BLOCKS
from .random_networks.recipes import alone, networks
from .test_exact import some_masks
from .trace import (  # noqa: F401  (fill the table)
    toy_code,
    toy_operators,
    toy_sharing,
)
from .trace.toy_networks import TOYS

APART = 1e-9
MOVES = 3


class Trained:
    """A model, its optimizer and an average, under one execution."""

    def __init__(self, model, graph, execution):
        self.model, self.average = copy.deepcopy(model), copy.deepcopy(model)
        self.sub_model = SubModel(self.model, graph, graph.free, execution)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2)
        self.sub_model.adopt(self.average)

    def iterate(self, inputs):
        """One step on a loss that every output moves, gradients clipped.

        Returns the outputs and the norm of the gradients.
        """
        self.optimizer.zero_grad()
        outputs = torch.utils._pytree.tree_leaves(self.model(inputs))
        sum((each - 1).square().mean() for each in outputs).backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.sub_model.enforce()
        self.follow()
        return [norm, *(each.detach() for each in outputs)]

    @torch.no_grad()
    def follow(self):
        for mean, live in zip(
            self.average.parameters(), self.model.parameters()
        ):
            mean.lerp_(live, 0.1)

    def state(self):
        """Everything, in dense shapes."""
        state = {}
        for place, model in (('', self.model), ('average/', self.average)):
            tensors = dict(model.state_dict())
            self.sub_model.widen_state(tensors)
            state |= {place + name: t for name, t in tensors.items()}
        moments = self.optimizer.state_dict()
        self.sub_model.widen_optimizer_state(moments, self.optimizer)
        for number, values in moments['state'].items():
            for key, value in values.items():
                state[f'{number}/{key}'] = value
        return state


def gap(one, other):
    scale = max(float(one.abs().max()), 1.0) if one.numel() else 1.0
    return float((one - other).abs().max()) / scale if one.numel() else 0.0


def check_executions(model, inputs, seed):
    model, inputs = model.double(), inputs.double()
    graph = chex_mm.trace_channels(model, (inputs,))
    runs = [Trained(model, graph, how) for how in ('masked', 'compact')]
    for move in range(MOVES):
        keep = some_masks(graph, seed + move)
        for run in runs:
            run.sub_model.move(keep, run.optimizer, [run.average])
        for _ in range(2):
            for a, b in zip(*(run.iterate(inputs) for run in runs)):
                assert a.shape == b.shape and gap(a, b) < APART
    masked, compact = (run.state() for run in runs)
    assert masked.keys() == compact.keys()
    for name, tensor in masked.items():
        assert tensor.shape == compact[name].shape
        assert gap(tensor, compact[name]) < APART, name


# Toys that no execution can be compared on, and why.
APART_FOR_A_REASON = {
    'InPlaceOnChunk',  # cannot be trained: autograd refuses what it does
    'DropoutAndPadding',  # draws as many numbers as there are channels
    'PlainProducts',  # makes tensors in single precision
    'Centred',  # its buffer carries the graph of every pass that wrote it
}


@pytest.mark.parametrize('name', sorted(TOYS.keys() - APART_FOR_A_REASON))
def test_toy_networks_train_the_same(name):
    torch.manual_seed(0)
    model, inputs = TOYS[name].build()
    check_executions(model.train(), inputs, seed=1)


# Blocks that no execution can be compared on, and why.
BLOCKS_APART = {
    'StochasticDepth',  # draws anew in every pass
    'instance_norm',  # a bias in front has no gradient but rounding
}


@pytest.mark.parametrize('name', sorted(BLOCKS.keys() - BLOCKS_APART))
def test_every_kind_of_block_trains_the_same(name):
    model, _ = alone(name)
    check_executions(model.train(), torch.randn(4, 3, 8, 8), seed=1)


@settings(max_examples=15)
@given(model=networks(), seed=st.integers(0, 99))
def test_random_networks_train_the_same(model, seed):
    check_executions(model.train(), torch.randn(4, 3, 8, 8), seed)
