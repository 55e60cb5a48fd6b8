"""The tables: what is said of operators, and of modules.

A key has one rule; a second one is an error that names both.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ...registry import Table, key_in

ADVICE = (
    'To override an operator in one call pass rules={**RULES, operator: rule}.'
)
RULES = Table('rule', ADVICE)
ZEROS = Table('promise about zeros')
SIZES = Table('sizes')
PENALTIES: set[type[nn.Module] | str] = set()
STANDARDISERS: set[type[nn.Module]] = set()


def rule(*keys) -> Callable[[Callable], Callable]:
    """Registers a function as the rule of operators.

    Args:
        *keys: Operators (`torch.ops.aten.cat`), overloads of one
            (`torch.ops.aten.max.dim`), subclasses of
            `torch.autograd.Function`, 'view' and 'pointwise' for all
            operators that torch's schema calls so, or the full name of an
            operator or a function of a package that need not be there
            ('torchvision::nms').

    Raises:
        ValueError: A key has a rule already; names both.
    """

    return RULES.register(*keys)


def zeros(*keys) -> Callable[[Callable], Callable]:
    """Registers a function that says where masked channels stay zero.

    It takes the flow and the call and returns whether every channel of the
    outputs is zero where it is masked.

    Args:
        *keys: As those of `rule`.

    Raises:
        ValueError: A key is registered already; names both.
    """
    return ZEROS.register(*keys)


def sizes(*types: type[nn.Module] | str) -> Callable[[Callable], Callable]:
    """Registers how a module without weights keeps a number of channels.

    The function takes the module and its positional arguments and returns
    `{attribute: [(tensor, dim), ...]}`: integer attributes that must follow
    the channels along `dim` of `tensor` (an RoI extractor's `out_channels`).
    What several tensors have in common is tied. It serves subclasses too; a
    type whose package need not be there is given by its full name.

    Raises:
        ValueError: A type is registered already; names both.
    """
    return SIZES.register(*types)


def penalty(*types: type[nn.Module] | str) -> None:
    """Declares losses on weights alone, to which zeros add nothing.

    They take weights as a whole, but give the same before and after a cut, so
    that what happens inside of them is not traced.
    """
    PENALTIES.update(types)


def is_penalty(module: nn.Module) -> bool:
    """Whether it, or a base of its type, was declared by `penalty`."""
    return key_in(PENALTIES, type(module)) is not None


def standardiser(*types: type[nn.Module]) -> None:
    """Declares modules that standardise a kernel over its dense columns.

    After a cut they count what is gone as zeros, so that mean and deviation
    over stored columns stay what they were. Subclasses, which may compute
    anything, are not meant.
    """
    STANDARDISERS.update(types)
