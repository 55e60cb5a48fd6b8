"""A batch of generated scenes for a model of mmdet3d.

What a sample holds is read from the config's own training pipeline, whose
last transform packs it: a model gets exactly the kind of data that it trains
on, without a data set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet3d.datasets.transforms import Pack3DDetInputs
from mmdet3d.structures import get_box_type
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from ...dispatch.randomness import fixed_random_state
from ...errors import ChexError

INSTANCES = 8  # objects of a scene
POINTS_PER_SQUARE_METRE, MOST_POINTS = 3, 16384
# Lower and upper corner of a scene whose config names none, in metres.
EXTENTS = {
    'Depth': (-3.0, -3.0, 0.0, 3.0, 3.0, 2.5),
    'LiDAR': (0.0, -20.0, -3.0, 40.0, 20.0, 1.0),
    'Camera': (-10.0, -1.0, 5.0, 10.0, 2.0, 40.0),
}
# To a camera's axes (right, down, forward).
VIEWS = {
    'Depth': ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    'LiDAR': ((0, -1, 0), (0, 0, -1), (1, 0, 0)),
    'Camera': ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}


@dataclass(frozen=True)
class SceneLayout:
    """What one training sample of a config holds.

    Attributes:
        keys: What the pipeline packs, such as 'points' and 'gt_bboxes_3d'.
        points: Points of a cloud.
        features: Numbers per point: coordinates, colours, heights...
        frame: 'Depth', 'LiDAR' or 'Camera': what boxes are measured in.
        box_size: Numbers per box: 7, or 9 with a velocity.
        extent: (x, y, z) of the lower and of the upper corner, in metres.
    """

    keys: tuple[str, ...]
    points: int
    features: int
    frame: str
    box_size: int
    extent: tuple[float, ...]


def scene_layout(config: Config) -> SceneLayout:
    """The layout of the samples that a config trains on.

    Raises:
        ChexError: It has no such pipeline, or one of several cameras.
    """
    dataset = config.get('train_dataloader', {}).get('dataset', {})
    steps = {step['type']: step for step in _transforms(dataset)}
    if 'Pack3DDetInputs' not in steps:
        raise ChexError(
            'No scene can be generated: train_dataloader.dataset has no '
            "pipeline that ends in dict(type='Pack3DDetInputs', keys=[...]), "
            'which tells what the model reads.'
        )
    several = [name for name in steps if 'MultiView' in name]
    if several:
        raise ChexError(
            f'No scene can be generated for {several[0]}: only clouds and '
            'single images can be.'
        )
    frame = _find(dataset, 'box_type_3d') or _loaded_as(steps)
    extent = _extent(config, steps, frame)
    return SceneLayout(
        keys=tuple(steps['Pack3DDetInputs']['keys']),
        points=_count_points(steps, extent),
        features=_count_features(steps),
        frame={name.lower(): name for name in EXTENTS}[frame.lower()],
        box_size=9 if _find(config.model, 'code_size') == 9 else 7,
        extent=extent,
    )


def generated_scenes(
    layout: SceneLayout, classes: int, image: tuple[int, int], count: int
) -> dict:
    """A batch as a data loader collates it; always the same one.

    Args:
        layout: Of one sample.
        classes: Labels are below it.
        image: Height and width, where the model reads images.
        count: Samples.
    """
    pack = Pack3DDetInputs(keys=layout.keys)
    with fixed_random_state():
        return pseudo_collate(
            [pack(_scene(layout, classes, image)) for _ in range(count)]
        )


def _scene(layout: SceneLayout, classes: int, image: tuple[int, int]) -> dict:
    """One sample before it is packed, with all keys that it might have."""
    low, high = torch.tensor(layout.extent).view(2, 3)
    centre = low + torch.rand(INSTANCES, 3) * (high - low)
    size = 0.5 + torch.rand(INSTANCES, 3)
    rest = torch.zeros(INSTANCES, layout.box_size - 6)  # yaw, velocity
    box_type, box_mode = get_box_type(layout.frame)
    labels = torch.randint(classes, (INSTANCES,))
    points, owners = _cloud(layout, centre, size)
    kinds = torch.cat([labels, torch.zeros_like(labels[:1])])
    anything = torch.randint(classes, (layout.points,))
    if 'gt_bboxes_3d' in layout.keys:
        anything[:] = classes  # what is in no box has no class
    semantic = torch.where(owners < INSTANCES, kinds[owners], anything)
    return {
        'points': points,
        'pts_instance_mask': owners,
        'pts_semantic_mask': semantic,
        'gt_bboxes_3d': box_type(
            torch.cat([centre, size, rest], dim=1), box_dim=layout.box_size
        ),
        'gt_labels_3d': labels,
        'box_type_3d': box_type,
        'box_mode_3d': box_mode,
        **_image(layout, centre, labels, image),
    }


def _cloud(layout: SceneLayout, centre, size):
    """Half of the points anywhere, half in boxes; and whose each one is."""
    low, high = torch.tensor(layout.extent).view(2, 3)
    owners = torch.randint(2 * INSTANCES, (layout.points,))
    owners = owners.clamp(max=INSTANCES)  # the last one is nobody
    anywhere = low + torch.rand(layout.points, 3) * (high - low)
    inside = owners % INSTANCES
    offset = (torch.rand(layout.points, 3) - 0.5) * size[inside]
    placed = torch.where(
        (owners < INSTANCES)[:, None], centre[inside] + offset, anywhere
    )
    features = torch.rand(layout.points, layout.features - 3)
    return torch.cat([placed, features], dim=1), owners


def _image(layout: SceneLayout, centre, labels, image: tuple[int, int]):
    """An image of noise, its camera, and what annotators add to it."""
    height, width = image
    camera = np.eye(4, dtype=np.float32)
    camera[:2, :3] = (width, 0, width / 2), (0, width, height / 2)
    view = np.eye(4, dtype=np.float32)
    view[:3, :3] = VIEWS[layout.frame]
    corner = torch.rand(INSTANCES, 2) * torch.tensor([width, height]) / 2
    boxes = torch.cat([corner, corner + 8 + torch.rand(INSTANCES, 2)], dim=1)
    return {
        'img': np.random.rand(height, width, 3).astype(np.float32) * 255,
        'img_shape': image,
        'ori_shape': image,
        'pad_shape': image,
        'scale_factor': np.ones(2, np.float32),
        'flip': False,
        'cam2img': camera,
        'trans_mat': np.diag([0.25, 0.25, 1]).astype(np.float32),
        'affine_aug': False,
        'lidar2img': camera @ view,
        'depth2img': (camera @ view)[:3, :3],
        'gt_bboxes': boxes,
        'gt_bboxes_labels': labels,
        'attr_labels': torch.zeros_like(labels),
        'centers_2d': corner + 4,
        'depths': centre[:, 2].clone(),
    }


def _transforms(dataset: Any) -> Iterator[dict]:
    """The pipeline of the first data set that has one, however wrapped."""
    if isinstance(dataset, dict):
        if 'pipeline' in dataset:
            yield from dataset['pipeline']
        for key in ('dataset', 'datasets'):
            yield from _transforms(dataset.get(key))
    elif isinstance(dataset, (list, tuple)) and dataset:
        yield from _transforms(dataset[0])


def _find(config: Any, key: str) -> Any:
    """The first value under a key, however deep; None if there is none."""
    if isinstance(config, dict):
        if config.get(key) is not None:
            return config[key]
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        found = (_find(part, key) for part in config)
        return next((value for value in found if value is not None), None)
    return None


def _loaded_as(steps: dict) -> str:
    """The frame of the points, where there are no boxes."""
    return steps.get('LoadPointsFromFile', {}).get('coord_type', 'Camera')


def _count_points(steps: dict, extent: tuple[float, ...]) -> int:
    for name in ('PointSample', 'IndoorPatchPointSample'):
        if name in steps:
            return steps[name]['num_points']
    low, high = extent[:2], extent[3:5]
    area = (high[0] - low[0]) * (high[1] - low[1])
    # About as dense as a frame of KITTI, and no more than one has.
    return min(MOST_POINTS, round(POINTS_PER_SQUARE_METRE * area))


def _count_features(steps: dict) -> int:
    load = steps.get('LoadPointsFromFile')
    if load is None:
        return 3  # no cloud is read
    used = load.get('use_dim', 3)
    sweeps = steps.get('LoadPointsFromMultiSweeps')
    if sweeps is not None:  # what it leaves; without strengths by default
        used = sweeps.get('use_dim', (0, 1, 2, 4))
    count = used if isinstance(used, int) else len(used)
    patch = steps.get('IndoorPatchPointSample', {})
    # Heights and coordinates within the room are computed while loading.
    count += bool(load.get('shift_height'))
    return count + 3 * bool(patch.get('use_normalized_coord'))


def _extent(config: Config, steps: dict, frame: str) -> tuple[float, ...]:
    """Where the model, or the pipeline, looks at all."""
    found = _find(config.model, 'point_cloud_range')
    if found is None:
        found = steps.get('PointsRangeFilter', {}).get('point_cloud_range')
    if found is None:
        found = {k.lower(): v for k, v in EXTENTS.items()}[frame.lower()]
    block = steps.get('IndoorPatchPointSample', {}).get('block_size')
    if block is not None:  # a column of the room, and one window in testing
        found = (0, 0, found[2], block, block, found[5])
    return tuple(float(value) for value in found)
