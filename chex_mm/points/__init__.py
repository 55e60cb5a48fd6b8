"""Operators on points on the CPU, behind those of mmcv and of spconv.

mmcv has them for CUDA only; spconv's products are wrong with several threads.
"""

from importlib.util import find_spec

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

if find_spec('spconv'):
    from . import spconv_convolution  # noqa: F401

__all__ = ['KERNELS', 'cpu_kernel', 'install']
