"""Objects of other frames are pasted as the KITTI configs say."""

import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet3d.datasets', reason='needs mmdet3d')

from mmdet3d.registry import TRANSFORMS  # noqa: E402
from mmdet3d.structures import LiDARInstance3DBoxes, LiDARPoints  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402

from chex_mm.cli.command_line import load_config  # noqa: E402

CONFIGS = Path(__file__).parents[2] / 'configs' / 'mmdet3d'
NAMES = [
    f'{model}/{model}_chex-{cut}_kitti-3d-3class.py'
    for model in ('pointpillars', 'second')
    for cut in (50, 75)
]
POINTS = 12  # of each object


def write_objects(folder: Path) -> Path:
    """A database of one object per class, ten metres from each other."""
    infos = {}
    for place, name in enumerate(('Pedestrian', 'Cyclist', 'Car')):
        centre = np.array([20, 10 * place - 10, -1])
        points = np.random.rand(POINTS, 4).astype(np.float32)
        points.tofile(folder / f'{name}.bin')
        info = dict(
            name=name,
            path=f'{name}.bin',
            difficulty=0,
            num_points_in_gt=POINTS,
            box3d_lidar=np.array([*centre, 3, 2, 1.5, 0], np.float32),
        )
        infos[name] = [info]
    path = folder / 'objects.pkl'
    path.write_bytes(pickle.dumps(infos))
    return path


@pytest.fixture(params=NAMES)
def step(request, tmp_path):
    """The pasting step of a config, on a small database."""
    pipeline = load_config(str(CONFIGS / request.param)).train_dataloader
    (step,) = (
        step
        for step in pipeline.dataset.dataset.pipeline
        if step.type == 'ObjectSample'
    )
    step.db_sampler.update(
        data_root=str(tmp_path),
        info_path=str(write_objects(tmp_path)),
    )
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        return TRANSFORMS.build(step)


def test_objects_of_other_frames_are_pasted(step):
    own = np.array([[5, 5, 0, 1, 1, 1, 0]], np.float32)
    found = step(
        dict(
            points=LiDARPoints(np.zeros((7, 4)), points_dim=4),
            gt_bboxes_3d=LiDARInstance3DBoxes(own),
            gt_labels_3d=np.array([0]),
            plane=np.array([0, 0, 1, 0.5], np.float32),
        )
    )
    assert sorted(found['gt_labels_3d'].tolist()) == [0, 0, 1, 2]
    assert found['gt_labels_3d'].dtype == np.int64
    assert len(found['gt_bboxes_3d']) == 4
    assert len(found['points']) == 7 + 3 * POINTS


@pytest.mark.skipif('long' in vars(np), reason='numpy has np.long itself')
def test_numpy_is_left_as_it_was(step):
    boxes = np.array([[5, 5, 0, 1, 1, 1, 0]], np.float32)
    found = step.db_sampler.sample_all(boxes, np.array([0]))
    assert len(found['gt_labels_3d']) == 3
    assert 'long' not in vars(np)
