"""mmdet3d's pasting of objects from other frames, under any numpy.

mmdet3d chooses and pastes; all that is added is the name `np.long`, while its
code runs that reads it: numpy 1.24 to 1.26, which mmdet3d's other needs ask
for, do not have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from mmdet3d.datasets.transforms import DataBaseSampler
from mmdet3d.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ObjectDatabase(DataBaseSampler):
    """As mmdet3d's sampler: `ObjectSample(db_sampler=dict(type=...))`."""

    def sample_all(self, *args, **kwargs) -> dict | None:
        """What mmdet3d's method returns."""
        with _long_integers():
            return super().sample_all(*args, **kwargs)


@contextmanager
def _long_integers() -> Iterator[None]:
    if 'long' in vars(np):
        yield
        return
    np.long = int  # as it was up to numpy 1.23
    try:
        yield
    finally:
        del np.long
