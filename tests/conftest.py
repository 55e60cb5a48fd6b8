"""What every test starts from: one seed, one thread, and fixed examples."""

from importlib.util import find_spec

import pytest
import torch
from hypothesis import settings

# pytest looks for examples in every file, so these would be imported.
NEED_MMDET3D = ['engine/small_detectors3d.py', 'engine/voxel_detectors.py']
collect_ignore = [] if find_spec('mmdet3d') else NEED_MMDET3D

settings.register_profile('fixed', deadline=None, derandomize=True)
settings.load_profile('fixed')


@pytest.fixture(autouse=True, scope='session')
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def pytest_collection_modifyitems(items):
    """Files with slow tests first: a process is not left alone with one."""
    slow = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in slow)
