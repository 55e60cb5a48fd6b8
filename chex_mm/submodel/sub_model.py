"""The sub-model that trains: which channels are active, and how it is held.

The live model, its optimizer and its averaged copies change together; what
leaves is remembered and returns as it last was in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..graph.graph import ChannelGraph
from ..graph.groups import count_active
from ..surgery.copying import copy_of
from ..surgery.cut import slim
from ..surgery.resize import all_tensors, set_data
from .activity import Activity
from .executions import EXECUTIONS
from .memory import Memory, Transition, carry_optimizer
from .weights import find_tensors, touched_shapes

Masks = Mapping[str, Tensor]


class SubModel(Mapping):
    """The active part of a model, as a mapping to its dense tensors.

    Args:
        model: Dense, not wrapped.
        graph: Its channels.
        groups: Names of the explored groups.
        execution: A key of `EXECUTIONS`.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        groups: Iterable[str],
        execution: str,
    ):
        self.model, self.graph = model, graph
        self.groups = {name: graph.groups[name] for name in groups}
        self.shapes = touched_shapes(graph, self.groups)
        self.live = find_tensors(model, self.shapes)
        own = {id(tensor): name for name, tensor in self.live.items()}
        self._names = {  # state dicts name a shared tensor more than once
            name: own[id(tensor)]
            for name, tensor in all_tensors(model).items()
            if id(tensor) in own
        }
        make = EXECUTIONS.look_up(execution)
        self.execution = make(model, graph, self.groups)
        self.keep = {
            name: torch.ones(group.size, dtype=torch.bool)
            for name, group in self.groups.items()
        }
        self.active = self._all = self._activity(self.keep)
        self.memory = Memory(self.live, self.active)

    def __iter__(self) -> Iterator[str]:
        return iter(self.active)

    def __len__(self) -> int:
        return len(self.live)

    def __getitem__(self, name: str) -> Tensor:
        """A tensor in full shape, idle where it is out of use."""
        return self._dense(name, self.live[name].detach())

    def recall(self, name: str) -> Tensor:
        """A tensor in full shape, every entry as it last was in use."""
        return self.memory.recall(self.active, name, self[name])

    @torch.no_grad()
    def move(
        self,
        keep: Masks,
        optimizer: Optimizer | None = None,
        copies: Iterable[nn.Module] = (),
    ) -> None:
        """Makes the channels in `keep` the active ones, everywhere."""
        copies = [(copy, self._tensors(copy)) for copy in copies]
        after = self._activity(keep)
        transition = Transition(self.execution, self.active, after)
        for name in self:
            self.memory.remember(name, self.recall(name))
        for name, tensor in self.live.items():
            gradient = tensor.grad if tensor.is_leaf else None
            self._put(tensor, name, after)
            if gradient is not None:
                tensor.grad = transition.carried(name, gradient)
        if optimizer is not None:
            carry_optimizer(optimizer, self.live, transition)
        self._settle(keep, after)
        for copy, tensors in copies:
            for name, tensor in tensors.items():
                returning = self.memory.values[name]
                held = transition.carried(name, tensor, returning)
                self.execution.put(tensor, self._idle(after, name, held))
            self._fit(copy)

    @torch.no_grad()
    def restore(self, keep: Masks, memory: Mapping[str, Tensor]) -> None:
        """Goes back to remembered values, whatever the live tensors hold."""
        after = self._activity(keep)
        for name, tensor in self.live.items():
            self.memory.remember(name, memory[name])
            self._put(tensor, name, after)
        self._settle(keep, after)

    @torch.no_grad()
    def adopt(self, copy: nn.Module) -> None:
        """Makes a dense copy of the model the same sub-model."""
        for name, tensor in find_tensors(copy, self.shapes).items():
            held = self._held(self.active, name, tensor.detach())
            self.execution.put(tensor, held)
        self._fit(copy)

    @torch.no_grad()
    def adopt_optimizer(self, optimizer: Optimizer) -> None:
        """Makes the state that belongs to the dense model that of this."""
        dense = Transition(self.execution, self._all, self.active)
        carry_optimizer(optimizer, self.live, dense)

    @torch.no_grad()
    def enforce(self, copy: nn.Module | None = None) -> None:
        """Keeps what is inactive at zero after an optimizer step."""
        if self.execution.is_narrow:
            return  # nothing inactive is held, and this runs every iteration
        tensors = self.live if copy is None else self._tensors(copy)
        self.execution.enforce(tensors)

    @torch.no_grad()
    def dense_copy(self) -> nn.Module:
        """A copy of the model in full shapes, idle where it is out of use."""
        copy = copy_of(self.model)
        for name, tensor in self._tensors(copy).items():
            set_data(tensor, self[name].clone())
        self.execution.fit(copy, self.graph.counts())
        return copy

    def narrow_copy(self, dense: nn.Module) -> nn.Module:
        """A narrow copy of the live model; cut from `dense` if it is not."""
        if self.execution.is_narrow:
            return copy_of(self.model)
        return slim(dense, self.graph, self.keep)

    def widen_state(self, state: dict, prefix: str = '') -> None:
        """Gives a state dict dense shapes, in place.

        Args:
            state: Of the model or of a copy.
            prefix: Before the names of the model's tensors.
        """
        for known, name in self._names.items():
            if prefix + known in state:
                state[prefix + known] = self._dense(
                    name, state[prefix + known]
                )

    def hold_state(self, state: dict) -> None:
        """The way back from `widen_state`; shapes that fit are left alone."""
        for known, name in self._names.items():
            shape = self.execution.shape(self.active, name)
            if known in state and tuple(state[known].shape) != shape:
                state[known] = self._held(self.active, name, state[known])

    def widen_optimizer_state(self, state: dict, optimizer: Optimizer) -> None:
        """Gives `optimizer.state_dict()` dense shapes, in place."""
        names = {id(tensor): name for name, tensor in self.live.items()}
        parameters = dict.fromkeys(  # in the order that state dicts number
            id(p) for group in optimizer.param_groups for p in group['params']
        )
        for number, parameter in enumerate(parameters):
            if parameter in names and number in state['state']:
                state['state'][number] = self._widened(
                    names[parameter], state['state'][number]
                )

    def _widened(self, name: str, values: Mapping) -> dict:
        shape = self.execution.shape(self.active, name)
        return {
            key: self.active.zeroed(
                name, self.execution.widen(self.active, name, value)
            )
            if torch.is_tensor(value) and tuple(value.shape) == shape
            else value
            for key, value in values.items()
        }

    def _dense(self, name: str, held: Tensor) -> Tensor:
        """A value of full shape."""
        dense = self.execution.widen(self.active, name, held)
        return self.active.idle(name, dense)

    def _held(self, active: Activity, name: str, dense: Tensor) -> Tensor:
        held = self.execution.hold(active, name, dense)
        return self._idle(active, name, held)

    def _idle(self, active: Activity, name: str, held: Tensor) -> Tensor:
        """A value as it is held, not what an optimizer keeps beside it."""
        is_narrow = self.execution.is_narrow
        return held if is_narrow else active.idle(name, held)

    def _activity(self, keep: Masks) -> Activity:
        return Activity(self.groups, keep, self.shapes)

    def _tensors(self, copy: nn.Module) -> dict[str, Tensor]:
        return find_tensors(
            copy,
            {n: self.execution.shape(self.active, n) for n in self.active},
        )

    def _put(self, tensor: Tensor, name: str, after: Activity) -> None:
        dense = self.memory.values[name].to(tensor.device)
        self.execution.put(tensor, self._held(after, name, dense))

    def _settle(self, keep: Masks, after: Activity) -> None:
        self.keep, self.active = dict(keep), after
        self.execution.settle(after, self.live)
        self._fit(self.model)

    def _fit(self, model: nn.Module) -> None:
        self.execution.fit(model, count_active(self.keep))
