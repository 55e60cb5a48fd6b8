"""A small indoor detection set, drawn by the project itself.

Furnished rooms as a scanner sees them, in the files that mmdet3d makes of
ScanNet, so that the stock `ScanNetDataset` reads them. Only the form tells
the class: colours follow one distribution for all furniture, and one seed
always gives the same files.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .furniture import KINDS, furnish, on_faces, visible
from .recipe import write_once

POINTS = 6000  # of a cloud; a pipeline draws fewer, others each time
SIZES = ((4.0, 4.0, 2.0), (6.0, 6.0, 2.4))  # smallest and largest, in metres
OBJECTS = (4, 8)  # fewest and most that are tried
FURNITURE_SHARE = 0.7  # of the points: rooms are scanned for what is in them
NOISE = 0.005  # metres, of each coordinate
WALL, FLOOR = 1, 2  # ScanNet's ids
CLASSES = tuple(KINDS)
FOLDERS = ('points', 'instance_mask', 'semantic_mask')
ROOMS = {'train': 200, 'val': 40}


@dataclass(frozen=True)
class Room:
    """A cloud that is level and square to its walls.

    Attributes:
        points: (points, 6): x, y, z in metres, then colours of 0 to 255.
        semantics: ScanNet's id of a class per point.
        instances: The number of its object per point; 0 is the room itself.
        labels: The class of every object, the first one first.
    """

    points: np.ndarray
    semantics: np.ndarray
    instances: np.ndarray
    labels: list[int]

    def boxes(self) -> np.ndarray:
        """Centre and size of what was seen of each object, as in ScanNet."""
        own = [
            self.points[self.instances == number, :3]
            for number in range(1, len(self.labels) + 1)
        ]
        low = np.stack([points.min(0) for points in own])
        high = np.stack([points.max(0) for points in own])
        return np.hstack([(low + high) / 2, high - low])


def write_rooms(
    directory: str | Path, rooms: Mapping[str, int] = ROOMS, seed: int = 0
) -> Path:
    """Writes clouds, masks and `scannet_infos_<split>.pkl` of every split.

    Args:
        directory: Where to; a set of the same recipe is left as it is.
        rooms: Number of rooms per split.
        seed: Decides every point.

    Returns:
        `directory`, finished.

    Raises:
        ValueError: `directory` exists and holds something else.
    """
    recipe = {'rooms': dict(rooms), 'seed': seed, 'points': POINTS}

    def fill(root: Path) -> None:
        for folder in FOLDERS:
            (root / folder).mkdir()
        for number, (split, count) in enumerate(rooms.items()):
            rng = np.random.default_rng([seed, number])
            _write_split(root, split, count, rng)

    return write_once(directory, recipe, fill)


def _write_split(root, split, count, rng):
    """The layout of information that mmdet3d reads since 1.1."""
    categories = {name: label for label, name in enumerate(CLASSES)}
    content = {
        'metainfo': {
            'categories': categories,
            'dataset': 'scannet',
            'info_version': '1.1',
        },
        'data_list': [
            _write_room(root, f'{split}{number:04d}_00.bin', rng)
            for number in range(count)
        ],
    }
    path = root / f'scannet_infos_{split}.pkl'
    path.write_bytes(pickle.dumps(content))


def _write_room(root, name, rng):
    """Writes a cloud as its scanner stood; returns what is known of it."""
    room, align = draw_room(rng), draw_alignment(rng)
    cloud = room.points.copy()
    # The inverse of a turn R and a shift t, for rows: (p - t) R.
    cloud[:, :3] = (cloud[:, :3] - align[:3, 3]) @ align[:3, :3]
    arrays = (
        cloud.astype(np.float32),
        room.instances.astype(np.int64),
        room.semantics.astype(np.int64),
    )
    for folder, array in zip(FOLDERS, arrays):
        array.tofile(root / folder / name)
    return {
        'lidar_points': {'num_pts_feats': 6, 'lidar_path': name},
        'pts_instance_mask_path': name,
        'pts_semantic_mask_path': name,
        'axis_align_matrix': align.tolist(),
        'instances': [
            {'bbox_3d': box, 'bbox_label_3d': label}
            for box, label in zip(room.boxes().tolist(), room.labels)
        ],
    }


def draw_alignment(rng: np.random.Generator) -> np.ndarray:
    """What makes a cloud square: a turn about z and a shift, (4, 4)."""
    angle = rng.uniform(0, 2 * np.pi)
    matrix = np.eye(4)
    matrix[0, :2] = np.cos(angle), -np.sin(angle)
    matrix[1, :2] = np.sin(angle), np.cos(angle)
    matrix[:3, 3] = rng.uniform(-2, 2, 3)
    return matrix


def draw_room(rng: np.random.Generator) -> Room:
    """A furnished room about the origin, its floor at z = 0."""
    size = rng.uniform(*SIZES)
    count = rng.integers(OBJECTS[0], OBJECTS[1] + 1)
    furnished = furnish(rng, size, count)
    labels = [CLASSES.index(name) for name in furnished['names']]
    inside, around = _scan(rng, size, np.concatenate(furnished['objects']))
    parts = [len(parts) for parts in furnished['objects']]
    owner = np.repeat(np.arange(len(labels)), parts)[inside.box]
    kinds = np.array([kind.semantic for kind in KINDS.values()])
    points = np.concatenate([inside.points, around.points])
    points[:, :2] -= size[:2] / 2
    points += rng.normal(0, NOISE, points.shape)
    structure = np.where(around.axis == 2, FLOOR, WALL)
    instances = np.concatenate([owner + 1, np.zeros_like(structure)])
    return Room(
        points=np.hstack([points, _colours(rng, instances)]),
        semantics=np.concatenate([kinds[labels][owner], structure]),
        instances=instances,
        labels=labels,
    )


def _scan(rng, size, boxes):
    """What is seen of the furniture, and of walls and floor around it."""
    inside = round(FURNITURE_SHARE * POINTS)
    shell = np.stack([np.zeros(3), size])[None]
    return [
        # Three times as many as are asked for: some lie inside furniture.
        visible(on_faces(rng, sides, unseen, 3 * count), boxes, count)
        for sides, unseen, count in (
            (boxes, 0, inside),
            (shell, 1, POINTS - inside),
        )
    ]


def _colours(rng, instances):
    """One colour per object, a little different at every point."""
    base = rng.uniform(40, 215, (instances.max() + 1, 3))
    noise = rng.normal(0, 10, (len(instances), 3))
    return (base[instances] + noise).clip(0, 255).round()
