"""The synthetic rooms are a valid ScanNet set, the same for one seed."""

import pickle

import numpy as np
import pytest

from chex_mm.cli.command_line import load_config
from chex_mm.engine.datasets import furniture, synthetic_rooms
from chex_mm.engine.datasets.synthetic_rooms import CLASSES, FOLDERS

SMALL = {'train': 3, 'val': 2}


@pytest.fixture(scope='module')
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp('set') / 'a'
    return synthetic_rooms.write_rooms(folder, SMALL)


@pytest.fixture(scope='module')
def drawn():
    rng = np.random.default_rng(0)
    return [synthetic_rooms.draw_room(rng) for _ in range(20)]


def content(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob('*')
        if path.is_file()
    }


def test_same_seed_same_files(rooms, tmp_path):
    again = synthetic_rooms.write_rooms(tmp_path / 'again', SMALL)
    other = synthetic_rooms.write_rooms(tmp_path / 'other', SMALL, seed=1)
    assert content(again) == content(rooms)
    assert content(other) != content(rooms)
    first = [f'points/{split}0000_00.bin' for split in SMALL]
    assert content(rooms)[first[0]] != content(rooms)[first[1]]


def test_finished_set_is_reused_and_another_refused(rooms):
    before = {path: path.stat().st_mtime_ns for path in rooms.rglob('*')}
    assert synthetic_rooms.write_rooms(rooms, SMALL) == rooms
    assert before == {p: p.stat().st_mtime_ns for p in rooms.rglob('*')}
    with pytest.raises(ValueError, match='not what was asked for') as error:
        synthetic_rooms.write_rooms(rooms, SMALL, seed=7)
    assert "'seed': 0" in str(error.value)


@pytest.mark.parametrize('split', SMALL)
def test_files_are_those_of_scannet(rooms, split):
    infos = pickle.loads((rooms / f'scannet_infos_{split}.pkl').read_bytes())
    assert infos['metainfo']['categories'] == {
        name: label for label, name in enumerate(CLASSES)
    }
    assert len(infos['data_list']) == SMALL[split]
    count = synthetic_rooms.POINTS
    for info in infos['data_list']:
        name = info['lidar_points']['lidar_path']
        sizes = [(rooms / f / name).stat().st_size for f in FOLDERS]
        assert sizes == [count * 6 * 4, count * 8, count * 8]
        assert len(info['instances']) > 1
        turn = np.array(info['axis_align_matrix'])[:3, :3]
        assert turn @ turn.T == pytest.approx(np.eye(3))
        assert abs(turn[0, 1]) > 1e-3  # there is something to align


def test_boxes_hold_their_points_and_no_others(drawn):
    for room in drawn:
        boxes = room.boxes()
        low = boxes[:, :3] - boxes[:, 3:] / 2
        high = boxes[:, :3] + boxes[:, 3:] / 2
        xyz = room.points[:, None, :3]
        inside = ((xyz >= low - 1e-9) & (xyz <= high + 1e-9)).all(2)
        for number, label in enumerate(room.labels):
            own = room.instances == number + 1
            assert inside[own, number].all()
            # The floor and other objects keep away, but for noise.
            others = inside[:, number] & ~own & (room.instances > 0)
            assert not others.any()
            kind = furniture.KINDS[CLASSES[label]]
            assert (room.semantics[own] == kind.semantic).all()
        structure = room.semantics[room.instances == 0]
        assert {*structure} == {synthetic_rooms.WALL, synthetic_rooms.FLOOR}


def test_rooms_have_a_floor_and_walls_about_the_origin(drawn):
    for room in drawn:
        xyz = room.points[:, :3]
        floor = xyz[room.semantics == synthetic_rooms.FLOOR]
        wall = np.abs(xyz[room.semantics == synthetic_rooms.WALL])
        half = np.abs(xyz).max(0)[:2]
        noise = 6 * synthetic_rooms.NOISE
        assert np.abs(floor[:, 2]).max() < noise
        assert (half - wall[:, :2]).min(1).max() < 2 * noise


def test_every_class_is_drawn_in_its_size_and_any_colour(drawn):
    labels = np.concatenate([room.labels for room in drawn])
    sizes = np.concatenate([room.boxes()[:, 3:] for room in drawn])
    colours = np.concatenate(
        [
            [
                room.points[room.instances == number + 1, 3:].mean(0)
                for number in range(len(room.labels))
            ]
            for room in drawn
        ]
    )
    for label, name in enumerate(CLASSES):
        own = labels == label
        width, depth, height = furniture.KINDS[name].size
        mean = sizes[own].mean(0)
        assert mean[2] == pytest.approx(height, rel=0.1)
        assert mean[:2].sum() == pytest.approx(width + depth, rel=0.1)
        assert colours[own].std(0).min() > 25


def test_turned_furniture_keeps_its_form():
    kind = furniture.KINDS['bed']
    found = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        mattress, board = furniture.build(rng, kind)
        assert (mattress[0] < mattress[1]).all()
        assert (board[0] < board[1]).all()
        assert mattress[0] == pytest.approx(np.zeros(3))
        across = int(np.argmin(board[1, :2] - board[0, :2]))
        found.add((across, bool(board[0, across] > 0.5)))
        ends = mattress[:, across]
        assert board[:, across].min() >= ends.min() - 1e-9
        assert board[:, across].max() <= ends.max() + 1e-9
    assert len(found) == 4  # the head at each of four sides


def test_nothing_is_seen_inside_or_below_furniture():
    rng = np.random.default_rng(0)
    stacked = np.array([[[0, 0, 0], [2, 2, 1]], [[0, 0, 1], [1, 1, 2.0]]])
    faces = furniture.on_faces(rng, stacked, 0, 3000)
    seen = furniture.visible(faces, stacked, 1000)
    # One square metre of the lower top is under the upper box.
    tops = seen.points[seen.axis == 2]
    assert {*tops[:, 2]} == {1.0, 2.0}
    lower = tops[tops[:, 2] == 1]
    assert not (lower[:, :2] < 1).all(1).any()
    # 3 m2 of the lower top, 1 m2 of the upper, 8 and 4 m2 of sides.
    assert len(tops) / 1000 == pytest.approx(4 / 16, abs=0.05)
    floor = np.array([[[0, 0, 0], [4, 4, 3.0]]])
    around = furniture.on_faces(rng, floor, 1, 3000)
    around = furniture.visible(around, stacked, 1000)
    ground = around.points[around.axis == 2]
    assert {*ground[:, 2]} == {0.0}
    assert not (ground[:, :2] < 2).all(1).any()


def test_more_hidden_than_drawn_is_noticed():
    rng = np.random.default_rng(0)
    box = np.array([[[0, 0, 0], [1, 1, 1.0]]])
    faces = furniture.on_faces(rng, box, 0, 10)
    with pytest.raises(AssertionError, match='more than was drawn is hidden'):
        furniture.visible(faces, box - 0.5, 10)


def test_stock_dataset_reads_it(rooms):
    datasets = pytest.importorskip('mmdet3d.datasets', reason='needs mmdet3d')
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet3d')
    config = load_config('configs/demo3d/votenet_demo_dense.py')
    options = config.train_dataloader.dataset
    options.pop('type')
    options.data_root = str(rooms)
    options.pipeline = [
        step for step in options.pipeline if 'Flip' not in step['type']
    ]
    dataset = datasets.ScanNetDataset(**options)
    assert len(dataset) == SMALL['train']
    for sample in dataset:
        points = sample['inputs']['points']
        assert points.shape == (config.points, 4)
        truth = sample['data_samples'].gt_instances_3d
        masks = sample['data_samples'].gt_pts_seg
        assert len(truth) == masks.pts_instance_mask.max()
        for number, label in enumerate(truth.labels_3d, 1):
            own = points[masks.pts_instance_mask == number]
            box = truth.bboxes_3d[number - 1]
            # Aligned, the box is that of the points, but for those left out.
            centre = (own[:, :3].amin(0) + own[:, :3].amax(0)) / 2
            assert (centre - box.gravity_center).abs().max() < 0.1
            semantic = masks.pts_semantic_mask[
                masks.pts_instance_mask == number
            ]
            assert (semantic == label).all()
        rest = masks.pts_semantic_mask[masks.pts_instance_mask == 0]
        assert (rest >= len(CLASSES)).all()


def test_demo_knows_classes_and_sizes():
    pytest.importorskip('mmdet3d', reason='needs mmdet3d')
    config = load_config('configs/demo3d/votenet_demo_dense.py')
    assert config.metainfo.classes == CLASSES
    sizes = [kind.size for kind in furniture.KINDS.values()]
    head = config.model.bbox_head
    assert head.num_classes == len(sizes)
    assert head.bbox_coder.mean_sizes == [
        pytest.approx([(x + y) / 2, (x + y) / 2, z]) for x, y, z in sizes
    ]
