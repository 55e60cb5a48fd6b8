"""What is known of each package of OpenMMLab, and of spconv.

A file of this room enters rules, sizes and attributes into their tables. If
the package has models, its `PACKAGE` says what tools have to know of them;
what is not said is as mmengine has it. No file imports a package that is not
there, or that no model is of.
"""

from __future__ import annotations

from importlib import import_module

from mmengine.config import Config
from torch import nn

from ..errors import ChexError
from ..registry import is_installed, keys_of
from .package import Package

# A file of this room, and what it imports at once: nothing where names of
# types are enough. mmcv-lite has no operators.
FILES = {
    'mmcv.standardised': 'mmcv',
    'mmcv.maps': 'mmcv._ext',
    'mmcv.points': 'mmcv._ext',
    'spconv': None,
    'mmdet3d': None,
    'mmdet': None,
    'mmpretrain': None,
    'mmseg': None,
}


def load_packages() -> dict[str, Package]:
    """Fills the tables; returns what is known of packages with models."""
    found = {}
    for name, needed in FILES.items():
        if needed is None or is_installed(needed):
            file = import_module(f'.{name}', __name__)
            if hasattr(file, 'PACKAGE'):
                found[name] = file.PACKAGE
    return found


def package_of(config: Config) -> Package:
    """The package that a config is written for, by its `default_scope`.

    Raises:
        ChexError: Nothing is known of it.
    """
    known, scope = load_packages(), config.get('default_scope')
    if scope not in known:
        *some, last = sorted(known)
        raise ChexError(
            f'The config is for none of {", ".join(some)} and {last} '
            f'(default_scope = {scope!r}), so no batch can be generated for '
            'it. Use chex_mm.packages.paths.trace_detector(model, batch).'
        )
    return known[scope]


def package_in(model: nn.Module, config: Config | None = None) -> Package:
    """The package of a model: its config's, or else that of its own type.

    Of neither, it is that of the first of its modules that is of one, and at
    last what mmengine has.
    """
    known = load_packages()
    scope = None if config is None else config.get('default_scope')
    if scope in known:
        return known[scope]
    for module in model.modules():
        for key in keys_of(type(module)):
            root = key.partition('.')[0] if isinstance(key, str) else None
            if root in known:
                return known[root]
    return Package()
