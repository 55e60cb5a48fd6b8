"""OpenMMLab's side: hooks, wrappers and models, registered by importing.

`custom_imports = dict(imports=['chex_mm.engine'])` in a config is all that a
run needs.
"""

from .safe_load import allow_mmengine_types

allow_mmengine_types()

from .hooks.chex_hook import CHEXHook  # noqa: E402
from .models.masked_backbone import masked_backbone  # noqa: E402

__all__ = ['CHEXHook', 'masked_backbone']
