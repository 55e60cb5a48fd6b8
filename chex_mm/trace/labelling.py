"""Which channels each tensor carries, and what is stated about them.

Every tensor that carries channels has a label tensor of its own shape; a
weight has one vector of labels per dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..graph.groups import Role
from .facts import Facts, Take, Tie
from .hollow import filled, filled_shape
from .labels import (
    encounter,
    is_constant,
    meets,
    representatives,
    spread,
    unlabelled_at_full_size,
    varying,
    with_repeats,
    without_repeats,
)


@dataclass(frozen=True)
class Axes:
    """Labels of a weight: a vector, or None, per dimension."""

    vectors: tuple[Tensor | None, ...]


def _fill_blank(whole: Tensor, view: Tensor, labels: Tensor) -> None:
    """Labels around what is written first into a tensor made for it.

    `padded[:, :, 1:-1] = x`: the border has the channels of `x` as well.
    """
    dims = varying(labels)
    base = view._base
    if len(dims) != 1 or not base.is_contiguous():
        return
    into = without_repeats(labels).flatten()
    stride, start = view.stride(dims[0]), view.storage_offset()
    for dim, each in enumerate(base.stride()):
        size, step = base.shape[dim], stride // max(each, 1)
        first = start // max(each, 1) % size
        last = first + step * (len(into) - 1)
        if step and stride == step * each and last < size:
            whole.movedim(dim, -1)[..., first : last + 1 : step] = into
            return


class Labelling:
    """The labels of tensors, and the facts that follow from them.

    Args:
        tensors: Name to parameter or buffer of the model that runs.
        facts: Where to write. Labels that it holds already are used, so
            that a narrow model can be run with the labels it has kept.
    """

    def __init__(self, tensors: dict[str, Tensor], facts: Facts):
        super().__init__()
        self.facts = facts
        self.place = ''  # the operator whose rule runs, for messages
        # Made in a size from Python and untouched; whether it holds zeros.
        self.blank = WeakTensorKeyDictionary()
        self.filling = WeakTensorKeyDictionary()  # was blank, bit by bit
        self.slotted = WeakTensorKeyDictionary()  # the view that split it
        self._names = {id(t): (name, t) for name, t in tensors.items()}
        self._labels = WeakTensorKeyDictionary()
        self._written = WeakTensorKeyDictionary()
        self._deferred = WeakTensorKeyDictionary()
        self._pinned = torch.zeros(1, dtype=torch.bool)

    # Labels of tensors ---------------------------------------------------

    def has_channels(self, tensor: Tensor) -> bool:
        """Whether a rule has to look at the tensor."""
        return (
            tensor in self._labels
            or tensor in self._written
            or tensor in self._deferred
            or (id(tensor) in self._names and tensor.ndim > 0)
            or (tensor._base is not None and tensor._base in self._written)
        )

    def is_blank(self, tensor: Tensor) -> bool:
        """Whether it was freshly made, in a size from Python."""
        base = tensor._base
        return tensor in self.blank or base is not None and base in self.blank

    def is_named(self, tensor: Tensor) -> bool:
        """Whether it is a parameter or buffer of the model."""
        return id(tensor) in self._names

    def role(self, tensor: Tensor, dim: int) -> Role | None:
        """What a dimension of a weight is known to be to its channels."""
        if self.is_named(tensor):
            space = self.facts.spaces.get((self._names[id(tensor)][0], dim))
            return space.role if space is not None else None
        vector = self.axes(tensor)[dim]
        return self.facts.role(vector) if vector is not None else None

    def holds_directions(self, tensor: Tensor) -> bool:
        """Whether a parameter is not zero where it is masked."""
        dims = range(tensor.ndim)
        return any(self.role(tensor, d) is Role.DIRECTION for d in dims)

    def label(self, tensor: Tensor, labels, written: bool = False) -> None:
        """Gives a tensor its labels (a tensor of its shape, Axes or None).

        Args:
            tensor: An output of an operator.
            labels: None where it carries no channel.
            written: The operator wrote into an existing tensor, so that
                its base and other views of that base change as well.
        """
        if id(tensor) in self._names:
            return  # a buffer updated in place keeps its own labels
        if isinstance(labels, Tensor):
            labels = filled(labels)
            if labels.shape != filled_shape(tensor.shape):
                raise ValueError(
                    f'labels of shape {tuple(labels.shape)} do not describe '
                    f'a tensor of shape {tuple(tensor.shape)}'
                )
            labels = None if self.are_fixed(labels) else with_repeats(labels)
        if written and tensor._base is not None:
            self._write_through(tensor, labels)
        elif labels is not None:
            self._labels[tensor] = labels
        elif tensor in self._labels:
            del self._labels[tensor]

    def are_fixed(self, labels: Tensor | None) -> bool:
        """Whether every label is pinned: then it need not flow on."""
        if labels is None:
            return True
        few = without_repeats(labels)
        if few.numel() == 0:
            return True
        if int(few.max()) >= len(self._pinned):
            grown = torch.zeros(2 * self.facts.size, dtype=torch.bool)
            grown[: len(self._pinned)] = self._pinned
            self._pinned = grown
        return not bool(((few != 0) & ~self._pinned[few]).any())

    def is_free(self, tensor: Tensor) -> bool:
        """Whether a channel of the tensor may still be cut.

        Of a parameter that no operator has read yet nothing is pinned.
        """
        if not self.has_channels(tensor):
            return False
        if id(tensor) in self._names:
            name, _ = self._names[id(tensor)]
            spaces = [self.facts.spaces.get((name, d)) for d in range(2)]
            known = [space.labels for space in spaces if space is not None]
            return not known or not all(map(self.are_fixed, known))
        if self.is_weight(tensor):
            return not all(map(self.are_fixed, self.axes(tensor)))
        if tensor in self._deferred:
            return True
        return not self.are_fixed(self.labels(tensor))

    def _write_through(self, view: Tensor, labels) -> None:
        base = view._base
        if base not in self._written:
            whole = torch.empty_strided(
                base.shape, base.stride(), dtype=torch.long
            )
            whole.copy_(self.labels(base))
            if base in self.blank and labels is not None:
                self.filling[base] = True
                _fill_blank(whole, view, labels)
            self._written[base] = whole
            self._labels.pop(base, None)
        into = self._through_base(view)
        into.copy_(0 if labels is None else labels.expand(view.shape))

    def _through_base(self, view: Tensor) -> Tensor:
        base = view._base
        return self._written[base].as_strided(
            view.shape,
            view.stride(),
            view.storage_offset() - base.storage_offset(),
        )

    def labels(self, tensor: Tensor) -> Tensor:
        """The label tensor, of the tensor's shape.

        A parameter with channels along several dimensions cannot be told by
        one label per element: of a kernel the rows go on, the rest is pinned.
        """
        if tensor in self._deferred:
            self.pin(*self._deferred.pop(tensor))
        if tensor in self._written:
            return self._written[tensor]
        if tensor._base is not None and tensor._base in self._written:
            return filled(self._through_base(tensor))
        found = self._labels.get(tensor)
        return (
            found
            if isinstance(found, Tensor)
            else self._labels_of_weight(tensor)
        )

    def _labels_of_weight(self, tensor: Tensor) -> Tensor:
        if id(tensor) in self._names and tensor not in self._labels:
            long = [d for d, size in enumerate(tensor.shape) if size > 1]
            if len(long) == 1:
                vector = self.axis(tensor, long[0], Role.VALUE)
                return spread(vector, tensor.shape, long[0])
        axes = self.axes(tensor)
        is_kernel = tensor.ndim > 2 and axes[0] is not None
        for vector in axes[is_kernel:]:
            if vector is not None:
                self.pin(vector, 'an operator takes the weight as a whole')
        if is_kernel:
            return spread(axes[0], tensor.shape, 0)
        shape = filled_shape(tensor.shape)
        return torch.zeros((), dtype=torch.long).expand(shape)

    def axes(self, tensor: Tensor) -> tuple[Tensor | None, ...]:
        """Label vector per dimension of a weight (None: no channels)."""
        found = self._labels.get(tensor)
        if isinstance(found, Axes):
            return found.vectors
        if id(tensor) in self._names and tensor.ndim > 1:
            # Of four and more dimensions it is the kernel of a convolution.
            known = tensor.ndim if tensor.ndim < 4 else 2
            return tuple(self._guessed(tensor, d) for d in range(known)) + (
                None,
            ) * (tensor.ndim - known)
        return (None,) * tensor.ndim

    def _guessed(self, tensor: Tensor, dim: int) -> Tensor:
        """Labels of which nothing says yet what they are to their channels."""
        name, _ = self._names[id(tensor)]
        if (name, dim) not in self.facts.spaces:
            self.facts.guessed.add((name, dim))
        return self.axis(tensor, dim, Role.COLUMN if dim else Role.ROW)

    def is_weight(self, tensor: Tensor) -> bool:
        """Whether labels are known per dimension, not per element."""
        return isinstance(self._labels.get(tensor), Axes) or (
            id(tensor) in self._names
            and sum(size > 1 for size in tensor.shape) > 1
        )

    def channel_dims(self, tensor: Tensor) -> list[int]:
        """Dimensions along which its channels lie."""
        if self.is_weight(tensor):
            axes = enumerate(self.axes(tensor))
            return [dim for dim, vector in axes if vector is not None]
        return varying(self.labels(tensor))

    def axis(self, tensor: Tensor, dim: int, role: Role) -> Tensor:
        """Label vector of a weight along a dimension.

        A kernel computed from another one has its rows. Other activations
        in the place of a weight (dynamic kernels) are pinned, which is 0.
        """
        if id(tensor) in self._names:
            name, _ = self._names[id(tensor)]
            return self.facts.space(name, dim, role, tensor.shape[dim])
        if isinstance(self._labels.get(tensor), Axes):
            return self.along(tensor, dim)
        labels = self.labels(tensor)
        if tensor.ndim == 1:
            return labels
        if not self.facts.are_rows(labels):
            self.pin(labels, 'it computes the weight of another operator')
        elif dim == 0:
            return labels.flatten(1)[:, 0]
        return torch.zeros(tensor.shape[dim], dtype=torch.long)

    def along(self, tensor: Tensor, dim: int) -> Tensor:
        """One label per position along `dim` of a weight or an activation."""
        if not self.is_weight(tensor):
            return self.vector(tensor, dim)
        vector = self.axes(tensor)[dim]
        if vector is None:
            return torch.zeros(tensor.shape[dim], dtype=torch.long)
        return vector

    def vector(self, tensor: Tensor, dim: int) -> Tensor:
        """One label per position along `dim` of an activation.

        Labels that differ along the other dimensions belong to one channel
        (a pixel shuffle puts several rows into one map), so they are tied.
        """
        labels = without_repeats(self.labels(tensor), but=dim)
        columns = labels.movedim(dim, 0).reshape(labels.shape[dim], -1)
        if columns.shape[1] > 1:
            self.tie(columns[:, :1].expand_as(columns), columns)
        return columns[:, 0]

    # Facts ---------------------------------------------------------------

    def tie(self, a: Tensor, b: Tensor) -> None:
        """Labels that meet, by broadcasting, are one channel.

        Where one side has no channel at full size the other is pinned; a
        single channel broadcast over several is pinned itself.
        """
        single: list[Tensor] = []
        if a.shape == b.shape:
            pairs, fixed = encounter(a, b)
        else:
            pairs, single = meets(a, b), representatives(a, b)
            fixed = torch.cat(
                (unlabelled_at_full_size(a, b), unlabelled_at_full_size(b, a))
            )
        if len(fixed):
            self.pin(
                fixed, f'it meets something of fixed size at {self.place}'
            )
        for label in single:
            self.pin(label, f'it is broadcast over channels at {self.place}')
        if len(pairs) and not single:
            self.facts.ties.append(Tie(pairs, self.place))

    def pin(self, labels: Tensor, reason: str) -> None:
        """These labels may never be cut."""
        labels = without_repeats(labels).flatten()
        labels = torch.unique(labels[labels != 0])
        if not len(labels):
            return
        self.are_fixed(labels)  # grows the table
        if not bool(self._pinned[labels].all()):
            self.facts.pins.append((labels, reason))
            self._pinned[labels] = True

    def take(self, take: Take) -> Take:
        """Notes which positions are taken; returns what the model takes.

        That is the same, but for a narrow copy in the check by replay.
        """
        self.facts.takes.append(take)
        return take

    def defer(self, tensor: Tensor, labels: Tensor, reason: str) -> None:
        """Pins labels as soon as an operator makes use of `tensor`."""
        self._deferred[tensor] = (labels, reason)

    def is_deferred(self, tensor: Tensor) -> bool:
        return tensor in self._deferred

    def is_constant(self, tensor: Tensor, dims) -> bool:
        """Whether labels do not change along these dimensions."""
        return is_constant(self.labels(tensor), dims)
