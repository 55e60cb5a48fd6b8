"""The table itself; a key has one rule, and a second one is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

RULES: dict[Any, Callable] = {}


def rule(*keys) -> Callable[[Callable], Callable]:
    """Registers a function as the rule of operators.

    Args:
        *keys: Operators (`torch.ops.aten.cat`), overloads of one
            (`torch.ops.aten.max.dim`), subclasses of
            `torch.autograd.Function`, or 'view' and 'pointwise' for all
            operators that torch's schema calls so.

    Raises:
        ValueError: A key has a rule already; names both.
    """

    def register(function: Callable) -> Callable:
        for key in keys:
            other = RULES.get(key)
            if other is not None:
                raise ValueError(
                    f'{key} has the rule {other.__module__}.{other.__name__} '
                    f'already; {function.__module__}.{function.__name__} '
                    'cannot be a second one. To override it in one call pass '
                    'rules={**RULES, key: rule}.'
                )
            RULES[key] = function
        return function

    return register
