"""What every test starts from: one seed, one thread, and fixed examples."""

import pytest
import torch
from hypothesis import settings

settings.register_profile('fixed', deadline=None, derandomize=True)
settings.load_profile('fixed')


@pytest.fixture(autouse=True, scope='session')
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
