"""Channel exploration for OpenMMLab models and plain PyTorch ones.

This module and the rooms `channels`, `explore` and `surgery` need torch and
numpy only; `chex_mm.engine` connects them to mmengine, mmcv and mmdet.
"""

from chex_mm.channels.graph import ChannelGraph, ChannelGroup, Role, Slice
from chex_mm.errors import ChexError
from chex_mm.explore import Budget, ChannelExplorer
from chex_mm.surgery import mask_channels, slim
from chex_mm.surgery.replay import trace_channels
from chex_mm.version import __version__

__all__ = [
    'Budget',
    'ChannelExplorer',
    'ChannelGraph',
    'ChannelGroup',
    'ChexError',
    'Role',
    'Slice',
    '__version__',
    'mask_channels',
    'slim',
    'trace_channels',
]
