"""What to keep: a budget, shared out over channel groups during training.

Torch only; reads channel graphs, knows nothing of how they were traced.
"""

from .allocation import (
    AllocationSpace,
    allocate,
    reachable_range,
    uniform_counts,
    uniform_share,
)
from .budget import BUDGETS, Budget
from .executions import EXECUTIONS
from .explorer import ChannelExplorer
from .plan import Plan, StepReport
from .regrowth import REGROWTHS, regrow_factor
from .scope import select_groups
from .scores import SCORES
from .settings import ExplorerSettings
from .steps import fit_steps

__all__ = [
    'BUDGETS',
    'EXECUTIONS',
    'REGROWTHS',
    'SCORES',
    'AllocationSpace',
    'Budget',
    'ChannelExplorer',
    'ExplorerSettings',
    'Plan',
    'StepReport',
    'allocate',
    'fit_steps',
    'reachable_range',
    'regrow_factor',
    'select_groups',
    'uniform_counts',
    'uniform_share',
]
