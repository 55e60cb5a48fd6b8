"""One operator call, as the rules see it.

Everything is told by torch's own schema of the operator: argument names,
defaults and kind; nothing is guessed from names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
# Multiply-adds are counted where these run, channels or not.
COSTLY = {
    aten.convolution,
    aten.mm,
    aten.addmm,
    aten.bmm,
    aten.baddbmm,
    aten._scaled_dot_product_flash_attention_for_cpu,
    aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_cudnn_attention,
    aten._native_multi_head_attention,
}
# Sizes come from Python here, and what is written later brings channels.
FACTORIES = {aten.zeros, aten.ones, aten.empty, aten.full}
ZERO_FACTORIES = {aten.zeros, aten.new_zeros}  # channels may be added to


@dataclass(frozen=True)
class Call:
    """One operator call as a rule sees it.

    Attributes:
        op: Name, as `aten.cat.default`.
        key: The object under which its rule is registered.
        arguments: By the name in the operator's schema, defaults included.
        inputs: All tensors among the arguments, in order.
        out: What the operator returned.
        module: Path of the module that called it.
        func: The operator overload; None for an autograd function.
    """

    op: str
    key: Any
    arguments: dict[str, Any]
    inputs: tuple[Tensor, ...]
    out: Any
    module: str
    func: Any = None

    def __getitem__(self, name: str):
        return self.arguments[name]

    @property
    def outs(self) -> tuple:
        """What the operator returned, as a tuple in any case."""
        return tuple(self.out) if _is_many(self.out) else (self.out,)

    def writes(self, out: Tensor) -> bool:
        """Whether an output is an input that the operator wrote into."""
        return any(out is tensor for tensor in self.inputs)

    @property
    def place(self) -> str:
        """The operator and the module it ran in, for messages."""
        return f'{self.op} in {self.module or "the model"}'


def _is_many(out) -> bool:
    return isinstance(out, (tuple, list))


@cache
def _schema(func) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (a.name, a.default_value if a.has_default_value() else None)
        for a in func._schema.arguments
    )


def bind(func, args, kwargs) -> dict[str, Any]:
    """Arguments by their names in the schema, defaults filled in."""
    schema = _schema(func)
    bound = dict(schema)
    bound.update(zip((name for name, _ in schema), args))
    bound.update(kwargs)
    return bound


@cache
def is_composite(func) -> bool:
    """Whether torch writes the operator in terms of others."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(
        func.name(), torch._C.DispatchKey.CompositeImplicitAutograd
    )


@cache
def default_kind(func) -> str | None:
    """'view' or 'pointwise' where torch's own schema says so.

    In-place twins lack the tag in torch 2.11 and follow their functional
    form.
    """
    if func.is_view:
        return 'view'
    packet = func.overloadpacket
    name = packet._qualified_op_name.rpartition('::')[2]
    twin = getattr(aten, name[:-1], None) if name[-1] == '_' else None
    overloads = [func]
    if twin is not None:
        overloads += [getattr(twin, o) for o in twin.overloads()]
    if any(torch.Tag.pointwise in o.tags for o in overloads):
        return 'pointwise'
    return None
