"""Point clouds of single shapes, each with one class, out of one file.

Samples have mmdet3d's fields, so that its transforms and its preprocessor
read them.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.structures import DepthPoints
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS


@DATASETS.register_module()
class ShapeDataset(BaseDataset):
    """One split of an `.npz` file of clouds that are equally large.

    The file holds `{split}_points`, (clouds, points, 3) of any float type;
    `{split}_labels`, (clouds,) of integers; `classes`, the names that the
    labels count from 0. ModelNet10 and ModelNet40, sampled, fit in this way.

    A sample has `points` and `gt_labels_3d`, the class as an array of one.

    Args:
        ann_file: The file, below `data_root` unless absolute.
        split: 'train', 'test', or what else the file has.
        points: Only the first so many of each cloud.
        **options: See `BaseDataset`.

    Raises:
        ValueError: The file is not of that layout.
    """

    def __init__(
        self,
        ann_file: str,
        split: str = 'train',
        points: int | None = None,
        **options: Any,
    ):
        self.split, self.points = split, points
        super().__init__(ann_file=ann_file, **options)

    def load_data_list(self) -> list[dict]:
        """The samples before the pipeline; takes the classes' names."""
        points, labels, classes = self._read()
        self._metainfo.setdefault('classes', classes)
        points = points[:, : self.points]
        labels = labels[:, None].astype(np.int64)
        return [
            {'points': cloud, 'gt_labels_3d': label}
            for cloud, label in zip(points, labels)
        ]

    def get_data_info(self, idx: int) -> dict:
        """One sample, its points as mmdet3d's transforms expect them."""
        info = super().get_data_info(idx)
        cloud = info['points'].astype(np.float32)
        return {**info, 'points': DepthPoints(cloud, points_dim=3)}

    def _read(self) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        names = f'{self.split}_points', f'{self.split}_labels', 'classes'
        try:
            with np.load(self.ann_file, allow_pickle=False) as file:
                absent = [name for name in names if name not in file]
                if absent:
                    raise self._wrong(
                        f'has no {", ".join(absent)}, but {sorted(file)}'
                    )
                points, labels, classes = (file[name] for name in names)
        except zipfile.BadZipFile as error:
            raise self._wrong(f'cannot be read: {error}') from error
        self._check(points, labels, classes)
        return points, labels, tuple(classes.tolist())

    def _check(self, points, labels, classes) -> None:
        if points.ndim != 3 or points.shape[2] != 3 or not points.size:
            raise self._wrong(
                f'has {self.split}_points of shape {points.shape}, not '
                '(clouds, points, 3)'
            )
        if self.points is not None and self.points > points.shape[1]:
            raise self._wrong(
                f'has clouds of {points.shape[1]} points, fewer than '
                f'points={self.points}'
            )
        if labels.shape != points.shape[:1]:
            raise self._wrong(
                f'has {len(points)} clouds, but {self.split}_labels of '
                f'shape {labels.shape}'
            )
        outside = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if len(outside):
            raise self._wrong(
                f'labels cloud {outside[0]} with {labels[outside[0]]}, and '
                f'there are {len(classes)} classes'
            )
        broken = np.flatnonzero(~np.isfinite(points).all(axis=(1, 2)))
        if len(broken):
            raise self._wrong(
                f'has points in cloud {broken[0]} that are not finite '
                f'({len(broken)} such clouds)'
            )

    def _wrong(self, what: str) -> ValueError:
        return ValueError(
            f'{Path(self.ann_file).name} {what}; see ShapeDataset for what '
            'such a file holds.'
        )
