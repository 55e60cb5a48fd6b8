"""Furniture as boxes: what it looks like, where it stands, what is seen of it.

An object is an array (parts, 2, 3) of lower and upper corners in metres,
with z upwards and all sides along the axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GAP = 0.1  # metres between two objects, or one and a wall
STRETCH = (0.85, 1.15)  # of each side of an object
ABOVE = 1e-3  # metres, far below any part


@dataclass(frozen=True)
class Kind:
    """What furniture of a class looks like, its front towards -y.

    Attributes:
        semantic: ScanNet's id of the class.
        size: Mean width, depth and height in metres.
        parts: Boxes (x, y, z, x, y, z), in shares of the size.
    """

    semantic: int
    size: tuple[float, float, float]
    parts: tuple[tuple[float, ...], ...]


def _legs(width: float, depth: float, top: float) -> tuple:
    """Four at the corners, from the floor to `top`."""
    return tuple(
        (x, y, 0, x + width, y + depth, top)
        for x in (0, 1 - width)
        for y in (0, 1 - depth)
    )


# The first classes of ScanNet in its order: VoteNet takes a point whose label
# is below its number of classes for one of an object.
KINDS = {
    'cabinet': Kind(
        semantic=3,
        size=(0.9, 0.5, 1.4),
        parts=((0, 0, 0, 1, 1, 1),),
    ),
    'bed': Kind(
        semantic=4,
        size=(1.4, 2.0, 0.9),
        parts=((0, 0, 0, 1, 1, 0.5), (0, 0.95, 0.5, 1, 1, 1)),
    ),
    'chair': Kind(
        semantic=5,
        size=(0.5, 0.5, 0.9),
        parts=(
            (0, 0, 0.45, 1, 1, 0.52),
            (0, 0.9, 0.52, 1, 1, 1),
            *_legs(0.1, 0.1, 0.45),
        ),
    ),
    'sofa': Kind(
        semantic=6,
        size=(1.9, 0.9, 0.8),
        parts=(
            (0, 0, 0, 1, 1, 0.5),
            (0, 0.7, 0.5, 1, 1, 1),
            (0, 0, 0.5, 0.12, 0.7, 0.75),
            (0.88, 0, 0.5, 1, 0.7, 0.75),
        ),
    ),
    'table': Kind(
        semantic=7,
        size=(1.4, 0.8, 0.75),
        parts=((0, 0, 0.93, 1, 1, 1), *_legs(0.05, 0.09, 0.93)),
    ),
}


def build(rng: np.random.Generator, kind: Kind) -> np.ndarray:
    """One object in the corner of the axes, turned to one of four sides."""
    parts = np.array(kind.parts, float).reshape(-1, 2, 3)
    parts *= np.array(kind.size) * rng.uniform(*STRETCH, 3)
    for _ in range(rng.integers(4)):
        x, y, z = np.moveaxis(parts, 2, 0)
        # (x, y) -> (-y, x) makes lower corners upper ones.
        parts = np.stack([y.max() - y[:, ::-1], x, z], 2)
    return parts


def furnish(
    rng: np.random.Generator, size: np.ndarray, count: int
) -> dict[str, list]:
    """Objects of a room that do not touch, as many of `count` as find place.

    Args:
        rng: Draws them.
        size: Of the room, (3,), which starts at the origin.
        count: To try.

    Returns:
        'names' of their kinds and 'objects'.
    """
    names, objects = [], []
    for name in rng.choice([*KINDS], count):
        parts = build(rng, KINDS[name])
        free = size - parts.max((0, 1)) - 2 * GAP
        for place in GAP + rng.random((20, 3)) * free:
            moved = parts + [*place[:2], 0]
            if not any(is_near(moved, other) for other in objects):
                names.append(str(name))
                objects.append(moved)
                break
    return {'names': names, 'objects': objects}


def is_near(parts: np.ndarray, other: np.ndarray) -> bool:
    """Whether two footprints are closer than the gap."""
    apart = np.maximum(
        parts[:, 0].min(0) - other[:, 1].max(0),
        other[:, 0].min(0) - parts[:, 1].max(0),
    )
    return bool((apart[:2] < GAP).all())


@dataclass(frozen=True)
class Faces:
    """Points on the sides of boxes.

    Attributes:
        points: (points, 3)
        box: Which one each point is on.
        axis: What its side is across: 0, 1 or 2.
    """

    points: np.ndarray
    box: np.ndarray
    axis: np.ndarray


def on_faces(
    rng: np.random.Generator, boxes: np.ndarray, unseen: int, count: int
) -> Faces:
    """Points spread evenly over the sides of boxes.

    Args:
        rng: Draws them.
        boxes: (boxes, 2, 3)
        unseen: The level side without points: 0 the lower, 1 the upper.
        count: Points.
    """
    extent = boxes[:, 1] - boxes[:, 0]
    area = np.prod(extent, 1, keepdims=True) / extent
    areas = np.stack([area, area], 2)  # (boxes, axes, lower and upper)
    areas[:, 2, unseen] = 0
    drawn = rng.choice(areas.size, count, p=(areas / areas.sum()).ravel())
    box, axis, side = np.unravel_index(drawn, areas.shape)
    points = boxes[box, 0] + rng.random((count, 3)) * extent[box]
    points[np.arange(count), axis] = boxes[box, side, axis]
    return Faces(points, box, axis)


def visible(faces: Faces, solids: np.ndarray, count: int) -> Faces:
    """The first points that lie in no solid and under none."""
    # Where a box stands on a side, that side is as hidden as the inside.
    points = faces.points[:, None] + [0, 0, ABOVE]
    inside = (points > solids[:, 0]) & (points < solids[:, 1])
    seen = np.flatnonzero(~inside.all(2).any(1))[:count]
    assert len(seen) == count, 'more than was drawn is hidden'
    return Faces(faces.points[seen], faces.box[seen], faces.axis[seen])
