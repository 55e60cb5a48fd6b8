"""A config of mmdet3d on a smaller scene, to put its architecture to the test.

Layers stay as they are. Only where the scene ends and how many points it has
change, and with them the size of every map, as a smaller image changes those
of a detector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

SHARE = 4  # a side of the ground becomes so many times shorter,
CELLS = 32  # but stays a multiple of what all strides together divide by
THINNER = 8  # so many times fewer points are read and sampled,
FEWEST = 16  # but no fewer than these

# What is measured in metres; x and y come first, for both corners.
BOUNDS = (
    'point_cloud_range',
    'post_center_range',
    'post_center_limit_range',
    'pc_range',
    'ranges',
)
# What counts cells, and where x and y are in it.
GRIDS = {
    'sparse_shape': (2, 1),
    'output_shape': (1, 0),
    'grid_size': (0, 1),
    'n_voxels': (0, 1),
}


# What counts points, in a model or in a step of a pipeline.
COUNTS = (
    'num_points',
    'num_point',
    'num_proposal',
    'num_keypoints',
    'num_sampled_points',
    'num_sampled_seed',
    'fps_sample_range_lists',
)


def shrink_scene(config: Config) -> None:
    """Makes the scene of a model and of its training samples smaller."""
    cells = _count_cells(config.model)
    if cells is not None:
        scales = [_fewer(count) / count for count in cells]
        config.model = _rescaled(config.model, scales)
    config.model = _thinned(config.model)
    for name in ('train_pipeline', 'train_dataloader'):
        if name in config:
            config[name] = _thinned(config[name])


def _fewer(count: int) -> int:
    steps = -(-count // (SHARE * CELLS))
    return min(count, CELLS * steps)


def _count_cells(config: Any) -> list[int] | None:
    """Cells along x and y of the first grid in a config, however deep."""
    if isinstance(config, Mapping):
        if {'point_cloud_range', 'voxel_size'} <= config.keys():
            bounds, size = config['point_cloud_range'], config['voxel_size']
            return [
                round((bounds[i + 3] - bounds[i]) / size[i]) for i in (0, 1)
            ]
        if _is_list(config.get('n_voxels')):
            return list(config['n_voxels'][:2])
        config = list(config.values())
    if _is_list(config):
        found = (_count_cells(part) for part in config)
        return next((cells for cells in found if cells), None)
    return None


def _rescaled(config: Any, scales: list[float]) -> Any:
    if _is_list(config):
        return type(config)(_rescaled(part, scales) for part in config)
    if not isinstance(config, Mapping):
        return config
    found = {}
    for key, value in config.items():
        if key in BOUNDS and _is_list(value):
            found[key] = _rescaled_bounds(value, scales)
        elif key in GRIDS and _is_list(value):
            found[key] = _rescaled_grid(value, GRIDS[key], scales)
        else:
            found[key] = _rescaled(value, scales)
    return found


def _rescaled_bounds(values: Sequence, scales: list[float]) -> list:
    """(x, y), (x, y, z) of two corners, or several of these."""
    if _is_list(values[0]):
        return [_rescaled_bounds(each, scales) for each in values]
    per_corner = 3 if len(values) == 6 else len(values)
    every = [*scales, 1][:per_corner]
    return [value * every[i % per_corner] for i, value in enumerate(values)]


def _rescaled_grid(values: Sequence, where, scales: list[float]) -> list:
    found = list(values)
    for place, scale in zip(where, scales):
        found[place] = round(found[place] * scale)
    return found


def _thinned(config: Any) -> Any:
    if _is_list(config):
        return type(config)(map(_thinned, config))
    if not isinstance(config, Mapping):
        return config
    return {
        key: _thinned_count(value) if key in COUNTS else _thinned(value)
        for key, value in config.items()
    }


def _thinned_count(value: Any) -> Any:
    """A number of points, or one per level; -1 stands for all of them."""
    if _is_list(value):
        return type(value)(map(_thinned_count, value))
    if isinstance(value, int) and value > FEWEST:
        return max(FEWEST, value // THINNER)
    return value


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
