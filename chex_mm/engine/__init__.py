"""OpenMMLab's side: hooks, wrappers and models, registered by importing.

`custom_imports = dict(imports=['chex_mm.engine'])` in a config is all that a
run needs.
"""

from importlib.util import find_spec

from .safe_load import allow_mmengine_types
from .whole_files import write_whole_files

allow_mmengine_types()
write_whole_files()

from .hooks.chex_hook import CHEXHook  # noqa: E402
from .models.masked_backbone import masked_backbone  # noqa: E402
from .models.slim_model import slim_model  # noqa: E402

if find_spec('mmcv'):
    from . import standardised  # noqa: F401
if find_spec('mmcv') and find_spec('mmcv._ext'):  # mmcv-lite has none
    from . import kernels, point_rules  # noqa: F401

    if find_spec('numba'):  # comes with mmdet3d
        from .points import install

        install()
from . import sparse_rules  # noqa: E402, F401  (of mmcv and of spconv)

if find_spec('mmdet'):
    from . import detectors  # noqa: F401
    from .mask_pasting import allow_boxes_outside

    allow_boxes_outside()
if find_spec('mmdet3d'):
    from . import detectors3d, voxel_rules  # noqa: F401
    from .kitti_overlap import stand_in

    stand_in()

__all__ = ['CHEXHook', 'masked_backbone', 'slim_model']
