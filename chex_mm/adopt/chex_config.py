"""The text of a config that inherits from a dense model's and explores it.

Short: what the base says already is not said again, and every line that
changes something says why.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..values import literal
from .adoption import Changes
from .config_text import assignment, comment, formatted

FROM_SCRATCH = 'From scratch: nothing is pre-trained.'
REASONS = {
    'init_cfg': FROM_SCRATCH,
    'pretrained': FROM_SCRATCH,
    'frozen_stages': 'What is frozen cannot be explored.',
    'norm_eval': 'Statistics have to follow the channels.',
    'norm_cfg': 'The scales of norm layers rank the channels: they train.',
    'zero_init_residual': 'A zero scale would rank every residual stream '
    'last.',
    'norm_decay_mult': 'Decay would pull the scales that rank the channels '
    'towards zero.',
    'custom_keys': 'norm_decay_mult does not reach these scales.',
    'exclude': 'Frozen in the code of the model.',
}
SYNC = 'Statistics over the batch of all GPUs; alone, it is plain batch norm.'


@dataclass
class Draft:
    """What a config says beside what it inherits.

    Attributes:
        base: The config that it inherits from.
        hook: The arguments of `CHEXHook`.
        model: What the model config says differently.
        paramwise: Of the optimizer.
        pretrained: Whether to keep the weights that the base starts from.
        is_synchronised: Whether there are statistics to synchronise.
    """

    base: Config
    hook: dict[str, Any]
    model: Changes
    paramwise: dict[str, Any] = field(
        default_factory=lambda: {'norm_decay_mult': 0}
    )
    pretrained: bool = False
    is_synchronised: bool = True

    def text(self, inherited: str) -> str:
        """The code, with `inherited` as the name of its base."""
        reasons = dict(REASONS)
        base = self.base
        parts = [
            assignment('_base_', inherited),
            assignment('custom_imports', dict(imports=_imports(base))),
            _hooks(base, dict(type='CHEXHook', **self.hook), reasons),
        ]
        if self.model:
            parts.append(assignment('model', self.model, reasons))
        if self.is_synchronised:
            parts.append(f"{comment(SYNC)}\nsync_bn = 'torch'")
        wrapper = dict(paramwise_cfg=self.paramwise)
        parts.append(assignment('optim_wrapper', wrapper, reasons))
        if base.get('load_from') and not self.pretrained:
            parts.append(f'{comment(FROM_SCRATCH)}\nload_from = None')
        return '\n\n'.join(parts)


def inherited_name(name: str, out: Path) -> str:
    """How a config at `out` names its base."""
    if '::' in name:
        return name
    return os.path.relpath(Path(name).absolute(), out.absolute().parent)


def _imports(base: Config) -> list[str]:
    names = (base.get('custom_imports') or {}).get('imports', [])
    names = [names] if isinstance(names, str) else list(names)
    return list(dict.fromkeys([*names, 'chex_mm.engine']))


def _hooks(base: Config, hook: dict, reasons: dict) -> str:
    """`custom_hooks`, those of the base by reference."""
    given = '*_base_.custom_hooks, ' if base.get('custom_hooks') else ''
    return formatted(f'custom_hooks = [{given}{literal(hook)}]', reasons)
