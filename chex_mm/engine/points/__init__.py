"""mmcv's operators on points on the CPU; mmcv has them for CUDA only."""

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

__all__ = ['KERNELS', 'cpu_kernel', 'install']
