"""OpenMMLab's side: hooks, wrappers and models, registered by importing.

`custom_imports = dict(imports=['chex_mm.engine'])` in a config is all that a
run needs.
"""

from ..packages import load_packages
from ..patches import apply_patches

apply_patches()
load_packages()

from .hooks.chex_hook import CHEXHook  # noqa: E402
from .models.masked_backbone import masked_backbone  # noqa: E402
from .models.slim_model import slim_model  # noqa: E402

__all__ = ['CHEXHook', 'masked_backbone', 'slim_model']
