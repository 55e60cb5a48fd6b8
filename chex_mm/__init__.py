"""Channel exploration for OpenMMLab models and plain PyTorch ones.

This module and all that it imports need torch and numpy only;
`chex_mm.engine` connects it to mmengine, mmcv and mmdet.
"""

from .budget.budgets import Budget
from .errors import ChexError
from .graph.graph import ChannelGraph
from .graph.groups import ChannelGroup, Role, Slice
from .strategies.exploration import ChannelExplorer
from .surgery import mask_channels, slim
from .trace.replay import trace_channels
from .version import __version__

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
