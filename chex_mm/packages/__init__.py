"""What is known of each package of OpenMMLab, and of spconv.

Every file is imported where its package is installed, and fills the tables of
rules, sizes and attributes.
"""

from importlib import import_module

from ..registry import is_installed

# A file of this room, and what has to be there; mmcv-lite has no operators.
FILES = (
    ('mmcv_standardised', 'mmcv'),
    ('mmcv_kernels', 'mmcv._ext'),
    ('point_rules', 'mmcv._ext'),
    ('sparse_rules', 'torch'),  # of mmcv and of spconv, whichever is there
    ('mmdet_modules', 'mmdet'),
    ('mmdet3d_modules', 'mmdet3d'),
    ('voxel_rules', 'mmdet3d'),
)


def load_packages() -> None:
    """Fills the tables with what is known of the packages that are here."""
    for file, needed in FILES:
        if is_installed(needed):
            import_module(f'.{file}', __name__)
