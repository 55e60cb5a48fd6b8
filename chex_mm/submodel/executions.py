"""How a sub-model is held: as zeros in full shapes, or physically narrow.

What is held can be made dense and back, so that exploration knows dense
tensors only and every execution explores alike.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from ..registry import Table
from ..surgery.doubt import check_doubt
from ..surgery.resize import dense_sizes, fit_sizes, set_data
from .activity import Activity

Tensors = Mapping[str, Tensor]


class Execution(Protocol):
    """What every entry of `EXECUTIONS` does.

    It is made of the dense model, its graph and the explored groups. All
    methods run without gradients; `dense` is a tensor of full shape that is
    zero where out of use, `held` the same as this execution holds it.

    Attributes:
        is_narrow: Whether the model computes with less, so that sizes
            change whenever channels do.
    """

    is_narrow: bool

    def widen(self, active: Activity, name: str, held: Tensor) -> Tensor:
        """Dense from held; may share memory with it."""

    def hold(self, active: Activity, name: str, dense: Tensor) -> Tensor:
        """Held from dense; what is out of use may be anything there."""

    def shape(self, active: Activity, name: str) -> tuple[int, ...]:
        """Shape of held."""

    def put(self, tensor: Tensor, held: Tensor) -> None:
        """Gives the same tensor object other contents."""

    def settle(self, active: Activity, tensors: Tensors) -> None:
        """Prepares `enforce`, after all live tensors were put."""

    def fit(self, model: nn.Module, counts: Mapping[str, int]) -> None:
        """Makes module attributes fit, after all of its tensors were put."""

    def enforce(self, tensors: Tensors) -> None:
        """Makes what is out of use have no effect, after a training step.

        Called only of what is not narrow.
        """


# Keyed by what settings call `execution`.
EXECUTIONS = Table('execution')


@EXECUTIONS.register('masked')
class Masked:
    """Full shapes, zero where out of use."""

    is_narrow = False

    def __init__(self, model, graph, groups):
        self._unused: dict[str, Tensor] = {}  # True out of use
        self._vectors: dict[str, Tensor] = {}  # 0 out of use, else 1
        self._ones: dict[str, Tensor] = {}  # True where it is 1 out of use
        self._followed: set[str] = set()  # whose gradients are kept zero

    def widen(self, active, name, held):
        return held

    def hold(self, active, name, dense):
        return torch.where(active.of(name).to(dense.device), dense, 0)

    def shape(self, active, name):
        return active.dense_shape(name)

    def put(self, tensor, held):
        tensor.detach().copy_(held)

    def settle(self, active, tensors):
        """Makes the masks once that are applied often."""
        self._unused, self._vectors, self._ones = {}, {}, {}
        for name in active:
            mask = active.of(name).to(tensors[name].device)
            if mask.all():
                continue
            self._unused[name] = ~mask
            ones = active.ones(name)
            if ones is not None:
                self._ones[name] = ones.to(mask.device)
            elif mask.dim() == 1:
                self._vectors[name] = mask.to(tensors[name].dtype)
        self._follow_gradients(tensors)

    def fit(self, model, counts):
        """Every size stays."""

    def enforce(self, tensors):
        """Zeroes in place; all vectors (most of the tensors) at once."""
        vectors = [tensors[name] for name in self._vectors]
        if vectors:
            masks = [
                mask.to(vector)
                for mask, vector in zip(self._vectors.values(), vectors)
            ]
            torch._foreach_mul_(vectors, masks)
            torch._foreach_add_(vectors, 0)  # -0.0 becomes 0.0
        for name in self._unused.keys() - self._vectors.keys():
            self._zero(name, tensors[name])
        for name, ones in self._ones.items():
            tensors[name].masked_fill_(ones.to(tensors[name].device), 1)

    def _follow_gradients(self, tensors):
        """Zeroes gradients too, before a norm of them is clipped.

        Zero channels may have gradients: a sum over channels and a kernel
        that is standardised over its columns pass them on.
        """
        # It would be compiled for every name anew.
        zero = torch.compiler.disable(_zero_gradient)
        for name, tensor in tensors.items():
            is_trained = tensor.is_leaf and tensor.requires_grad
            if is_trained and name not in self._followed:
                self._followed.add(name)
                tensor.register_post_accumulate_grad_hook(
                    partial(zero, weakref.ref(self), name)
                )

    @torch.no_grad()
    def _zero(self, name, values):
        if name in self._unused:
            values.masked_fill_(self._unused[name].to(values.device), 0)


def _zero_gradient(execution: weakref.ref, name: str, tensor: Tensor) -> None:
    """Of a model that is still explored."""
    if (masked := execution()) is not None:
        masked._zero(name, tensor.grad)


@EXECUTIONS.register('compact')
class Compact:
    """Only what is in use: training costs what the sub-model costs."""

    is_narrow = True

    def __init__(self, model, graph, groups):
        check_doubt(graph, groups)
        self._graph = graph
        self._sizes = dense_sizes(model, graph, groups)

    def widen(self, active, name, held):
        return active.widen(name, held)

    def hold(self, active, name, dense):
        return active.cut(name, dense)

    def shape(self, active, name):
        return active.shape(name)

    def put(self, tensor, held):
        set_data(tensor, held)

    def settle(self, active, tensors):
        """There is nothing out of use to keep down."""

    def fit(self, model, counts):
        fit_sizes(model, self._sizes, self._graph, counts)
