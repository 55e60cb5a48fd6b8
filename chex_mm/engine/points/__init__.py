"""mmcv's point operators on the CPU, where mmcv has them for CUDA only."""

from . import (  # noqa: F401
    boxes,
    gathering,
    interpolation,
    neighbours,
    region_pooling,
    sampling,
    score_assignment,
    suppression,
    voxels,
)
from .install import KERNELS, cpu_kernel, install

__all__ = ['KERNELS', 'cpu_kernel', 'install']
