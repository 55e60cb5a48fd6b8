"""What is done about another package waits until somebody imports it.

Nothing here imports a module that would not be imported anyway.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec


def when_imported(name: str, then: Callable[[], None]) -> None:
    """Calls `then` right after a module has run, or now if it has."""
    if name in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, _Waiting(name, then))


class _Waiting(MetaPathFinder):
    """Finds one module as all others do, and does something after it."""

    def __init__(self, name: str, then: Callable[[], None]):
        self.name, self.then = name, then
        self.is_asking = False  # the others

    def find_spec(self, name, path=None, target=None) -> ModuleSpec | None:
        """The spec of the one module that it waits for."""
        if name != self.name or self.is_asking:
            return None
        self.is_asking = True
        try:
            spec = find_spec(name)
        finally:
            self.is_asking = False
        if spec is None:
            return None
        run = spec.loader.exec_module

        def run_and_more(module):
            run(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self.then()

        spec.loader.exec_module = run_and_more
        return spec
