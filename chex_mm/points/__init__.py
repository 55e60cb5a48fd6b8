"""Operators on points on the CPU, behind those of mmcv and of spconv.

mmcv has them for CUDA only; spconv's products are wrong with several threads.
"""

from functools import partial
from importlib import import_module

from ..importing import when_imported
from . import (  # noqa: F401
    boxes,
    gathering,
    interpolation,
    neighbours,
    polygons,
    region_pooling,
    sampling,
    score_assignment,
    sparse_convolution,
    suppression,
    voxels,
)
from .install import KERNELS, cpu_kernel, install

__all__ = ['KERNELS', 'cpu_kernel', 'install', 'install_all']

# A module of another package, and the file with what its functions do.
LATER = {
    'mmdet3d.models.data_preprocessors.voxelize': 'mapped_voxels',
    'spconv.pytorch.ops': 'spconv_convolution',
}


def install_all() -> None:
    """Puts all kernels behind their functions, as soon as these are there."""
    install()
    for module, file in LATER.items():
        when_imported(module, partial(_install_file, file))


def _install_file(file: str) -> None:
    import_module(f'.{file}', __name__)
    install()
