"""Pictures of a run: what they read, what they draw, what they refuse."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from chex_mm.report import pictures

STEPS = (
    {'loss': 1.0, 'step': 1},
    {'chex/active/conv1': 8, 'chex/active/conv2': 12, 'step': 10},
    {'loss': 0.5, 'step': 15},
    {'chex/active/conv1': 4, 'chex/active/conv2': 16, 'step': 20},
)


@pytest.fixture
def scalars(tmp_path):
    path = tmp_path / 'scalars.json'
    path.write_text('\n'.join(map(json.dumps, STEPS)))
    return path


def test_active_channels_are_read_and_drawn(scalars, tmp_path):
    iterations, active = pictures.read_active(scalars)
    assert iterations == [10, 20]
    assert active == {'conv1': [8, 4], 'conv2': [12, 16]}
    out = tmp_path / 'new' / 'channels.png'
    pictures.draw_active(scalars, {'conv1': 8, 'conv2': 16}, out, 'title')
    assert len(np.unique(cv2.imread(str(out)))) > 10
    assert [*out.parent.iterdir()] == [out]  # nothing unfinished is left


def test_a_run_without_steps_is_refused(tmp_path):
    path = tmp_path / 'scalars.json'
    path.write_text(json.dumps(STEPS[0]))
    with pytest.raises(ValueError, match='holds no exploration step'):
        pictures.read_active(path)


class Rooms:
    """Test rooms, all with a box that is true, and what is found in them."""

    metainfo = {'classes': ('bed', 'chair')}

    def __init__(self, structures, scores):
        self.structures, self.scores = structures, scores
        self.boxes = structures.DepthInstance3DBoxes(
            [[0.0, 0, 0, 1, 2, 1, 0], [1.5, 0, 0, 0.5, 0.5, 1, 0]]
        )

    def __len__(self):
        return 2

    def __getitem__(self, index):
        points = torch.rand(50, 4, generator=torch.Generator().manual_seed(1))
        truth = {'gt_bboxes_3d': self.boxes[0]}
        sample = self.structures.Det3DDataSample()
        sample.eval_ann_info = truth
        return {'inputs': {'points': points}, 'data_samples': sample}

    def detect(self, batch):
        from mmengine.structures import InstanceData

        assert len(batch['inputs']['points']) == 1
        sample = batch['data_samples'][0]
        sample.pred_instances_3d = InstanceData(
            bboxes_3d=self.boxes,
            scores_3d=torch.tensor(self.scores),
            labels_3d=torch.tensor([0, 1]),
        )
        return [sample]


@pytest.fixture
def colours_of(tmp_path):
    """The colours of the picture of rooms with boxes of given scores."""
    structures = pytest.importorskip(
        'mmdet3d.structures', reason='needs mmdet3d'
    )

    def draw(*scores):
        rooms = Rooms(structures, scores)
        runner = SimpleNamespace(
            test_dataloader=SimpleNamespace(dataset=rooms),
            model=SimpleNamespace(test_step=rooms.detect),
        )
        out = tmp_path / 'rooms.png'
        pictures.draw_rooms(runner, out, count=5)
        image = cv2.imread(str(out))[..., ::-1]
        return {tuple(map(int, c)) for c in image.reshape(-1, 3)}, image.shape

    return draw


def test_rooms_show_the_boxes_above_the_score(colours_of):
    from matplotlib.colors import to_rgb

    first, second = (
        tuple(round(255 * part) for part in to_rgb(colour))
        for colour in pictures.COLOURS[:2]
    )
    both, shape = colours_of(0.9, 0.6)
    assert first in both and second in both
    assert shape[1] == pytest.approx(2 * 4 * 130, abs=2)  # only two rooms
    one, _ = colours_of(0.9, 0.4)
    assert first in one and second not in one
    none, _ = colours_of(0.1, 0.1)
    assert first not in none and second not in none
