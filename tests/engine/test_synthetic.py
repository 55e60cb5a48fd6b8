"""The synthetic set is a valid COCO set, the same for one seed."""

import json

import cv2
import numpy as np
import pytest

from chex_mm.engine.datasets import synthetic

SMALL = {'train': 6, 'val': 3}


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    return synthetic.write_shapes(tmp_path_factory.mktemp('set') / 'a', SMALL)


def load(directory, split):
    return json.loads((directory / f'{split}.json').read_text())


def content(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob('*')
        if path.is_file()
    }


def test_same_seed_same_files(shapes, tmp_path):
    again = synthetic.write_shapes(tmp_path / 'again', SMALL)
    other = synthetic.write_shapes(tmp_path / 'other', SMALL, seed=1)
    assert content(again) == content(shapes)
    assert content(other) != content(shapes)
    assert (
        content(shapes)['train/000001.png']
        != (content(shapes)['val/000001.png'])
    )


def test_finished_set_is_reused(shapes):
    before = {path: path.stat().st_mtime_ns for path in shapes.rglob('*')}
    assert synthetic.write_shapes(shapes, SMALL) == shapes
    assert before == {p: p.stat().st_mtime_ns for p in shapes.rglob('*')}


def test_other_content_is_refused(shapes, tmp_path):
    with pytest.raises(ValueError, match='not what was asked for') as error:
        synthetic.write_shapes(shapes, SMALL, seed=7)
    assert "'seed': 0" in str(error.value)
    assert "'seed': 7" in str(error.value)
    with pytest.raises(ValueError, match='holds no recipe'):
        synthetic.write_shapes(tmp_path, SMALL)


def test_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, '_write_split', fail)
    with pytest.raises(KeyboardInterrupt):
        synthetic.write_shapes(tmp_path / 'set', SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('split', SMALL)
def test_annotations_agree_with_each_other(shapes, split):
    found = load(shapes, split)
    assert [c['name'] for c in found['categories']] == [*synthetic.CLASSES]
    assert len(found['images']) == SMALL[split]
    ids = [entry['id'] for entry in found['annotations']]
    assert len(set(ids)) == len(ids) >= SMALL[split]
    for entry in found['annotations']:
        corners = np.reshape(entry['segmentation'][0], (-1, 2))
        assert (corners >= 0).all() and (corners <= synthetic.SIZE).all()
        x, y, width, height = entry['bbox']
        assert corners.min(0) == pytest.approx([x, y], abs=0.01)
        assert corners.max(0) == pytest.approx(
            [x + width, y + height], abs=0.01
        )
        area = cv2.contourArea(corners.astype(np.float32))
        assert entry['area'] == pytest.approx(area, rel=1e-3)
        assert entry['iscrowd'] == 0


def test_polygons_cover_the_drawn_pixels():
    mask_api = pytest.importorskip('pycocotools.mask')
    rng = np.random.default_rng(0)
    size, shift = synthetic.SIZE, []
    for name in synthetic.CLASSES * 10:
        outline = synthetic.draw_outline(rng, name)
        drawn = synthetic.rasterise(outline)
        polygon = [outline.flatten().tolist()]
        read = mask_api.decode(mask_api.frPyObjects(polygon, size, size))
        read = read[..., 0]
        overlap = np.minimum(drawn, read).sum()
        assert overlap / np.maximum(drawn, read).sum() > 0.8, name
        shift.append(centre_of(drawn) - centre_of(read))
    # COCO's own rasteriser is off by a few tenths here and there.
    assert np.abs(np.mean(shift, 0)).max() < 0.1


def centre_of(cover):
    return (np.indices(cover.shape) * cover).sum((1, 2)) / cover.sum()


def test_no_shape_is_mostly_hidden():
    rng = np.random.default_rng(3)
    seen = set()
    for _ in range(40):
        _, shapes = synthetic.draw_image(rng)
        seen.update(label for label, _ in shapes)
        left = np.ones((synthetic.SIZE, synthetic.SIZE))
        for _, outline in reversed(shapes):
            cover = synthetic.rasterise(outline)
            visible = (cover * left).sum() / cover.sum()
            assert visible >= synthetic.LEAST_VISIBLE - 1e-6
            left *= 1 - cover
    assert seen == set(range(len(synthetic.CLASSES)))


def test_colour_does_not_tell_the_class():
    rng = np.random.default_rng(0)
    mean = {label: [] for label in range(len(synthetic.CLASSES))}
    for _ in range(150):
        image, shapes = synthetic.draw_image(rng)
        label, outline = shapes[-1]
        mean[label].append(image[synthetic.rasterise(outline) > 0.5].mean(0))
    for colours in mean.values():
        assert np.std(colours, axis=0).min() > 40
        assert np.mean(colours, axis=0) == pytest.approx(127.5, abs=45)


def test_stock_dataset_reads_it(shapes):
    datasets = pytest.importorskip('mmdet.datasets')
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    dataset = datasets.CocoDataset(
        data_root=str(shapes),
        ann_file='train.json',
        data_prefix=dict(img='train/'),
        metainfo=dict(classes=synthetic.CLASSES),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        ],
    )
    assert len(dataset) == SMALL['train']
    found = load(shapes, 'train')['annotations']
    read = [dataset[number] for number in range(len(dataset))]
    assert sum(len(each['gt_bboxes']) for each in read) == len(found)
    assert read[0]['img'].shape == (synthetic.SIZE, synthetic.SIZE, 3)
    areas = np.concatenate([e['gt_masks'].masks.sum((1, 2)) for e in read])
    assert areas == pytest.approx([each['area'] for each in found], rel=0.1)
