"""What a compiled kernel did between the operators that torch dispatches.

Every tensor is as the last visible operator left it; one that is not was
written by something that no rule has seen.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torch.utils.weak import WeakTensorKeyDictionary

from .nested import tensors_among
from .watch import Watch


class Seen(Watch):
    """Keeps the contents of tensors while an autograd function runs.

    Args:
        flow: The flow below, which does not look at what this one copies.
        inputs: What the function takes.

    Attributes:
        is_all: Whether nothing was read that no operator has written.
    """

    def __init__(self, flow, inputs: tuple[Tensor, ...]):
        super().__init__()
        self.is_all = True
        self._flow = flow
        self._contents = WeakTensorKeyDictionary()
        self.note(inputs)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.check(tensors_among(*args, *kwargs.values()))
        out = func(*args, **kwargs)
        written = list(self._contents) if func._schema.is_mutable else []
        outs = [t for t in tree_flatten(out)[0] if isinstance(t, Tensor)]
        self.note((*written, *outs))
        return out

    def note(self, tensors) -> None:
        """Takes tensors as they are."""
        for tensor in tensors:
            self._contents[tensor] = self._content(tensor)

    def check(self, tensors) -> None:
        """Notes it if one is not as an operator has left it.

        Single numbers and indices that come from outside are data.
        """
        for tensor in tensors:
            known = self._contents.get(tensor)
            if known is None:
                self.is_all &= self._is_data(tensor)
            else:
                self.is_all &= torch.equal(known, self._content(tensor))

    def _is_data(self, tensor: Tensor) -> bool:
        return (
            tensor.numel() <= 1
            or not tensor.is_floating_point()
            or self._flow.is_named(tensor)
        )

    def _content(self, tensor: Tensor) -> Tensor:
        """All its bytes: what is not a number equals itself, too."""
        with self._flow.paused():
            if tensor.layout is not torch.strided:
                tensor = tensor.detach().to_dense()
            flat = tensor.detach().resolve_conj().resolve_neg().flatten()
            return flat.clone().view(torch.uint8)
