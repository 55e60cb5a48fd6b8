"""The shape classifier learns, predicts, and is cut without a difference."""

import pytest
import torch

pytest.importorskip('mmdet3d', reason='the classifier is built on it')

from mmdet3d.structures import Det3DDataSample  # noqa: E402
from mmdet3d.utils import register_all_modules  # noqa: E402
from mmengine.registry import MODELS, DefaultScope  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from chex_mm import mask_channels, slim  # noqa: E402
from chex_mm.adopt.analysis import draw_vectors, random_keep  # noqa: E402
from chex_mm.engine.metrics import ShapeAccuracy  # noqa: E402
from chex_mm.engine.models import shape_classifier  # noqa: E402, F401
from chex_mm.graph.groups import Role  # noqa: E402
from chex_mm.packages.paths import run_paths, trace_detector  # noqa: E402
from chex_mm.surgery import compare  # noqa: E402

CLASSES = 4
SMALL = dict(
    type='ShapeClassifier',
    backbone=dict(
        type='mmdet3d.PointNet2SASSG',
        in_channels=3,
        num_points=(24, 8),
        radius=(0.5, 1.0),
        num_samples=(8, 8),
        sa_channels=((6, 8), (8, 10)),
        fp_channels=(),
    ),
    pool_channels=(10, 12, 16),
    head_channels=(14,),
    classes=CLASSES,
)


@pytest.fixture(scope='module')
def model():
    register_all_modules(init_default_scope=False)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        model = MODELS.build(SMALL).eval()
    draw_vectors(model)
    return model


@pytest.fixture
def batch():
    return make_batch(3)


def make_batch(shapes):
    """As a data loader collates it; a shape's class is its elongation."""
    generator = torch.Generator().manual_seed(0)
    points, samples = [], []
    for number in range(shapes):
        label = number % CLASSES
        cloud = torch.rand(48, 3, generator=generator) - 0.5
        points.append(cloud * torch.tensor([1.0, 1.0, 0.4 + 0.6 * label]))
        sample = Det3DDataSample()
        sample.gt_instances_3d = InstanceData(labels_3d=torch.tensor([label]))
        samples.append(sample)
    return {'inputs': {'points': points}, 'data_samples': samples}


def test_every_mode_returns_what_it_says(model, batch):
    logits = model(batch['inputs'])
    assert logits.shape == (3, CLASSES)
    loss = model(**batch, mode='loss')['loss']
    expected = -logits.log_softmax(-1)[range(3), range(3)].mean()
    assert torch.allclose(loss, expected)
    samples = model(**batch, mode='predict')
    for row, sample in zip(logits.softmax(-1), samples):
        assert sample.pred_instances_3d.labels_3d.tolist() == [row.argmax()]
        assert sample.pred_instances_3d.scores_3d.tolist() == [row.max()]
    assert len(model(batch['inputs'], mode='predict')) == 3
    with pytest.raises(ValueError, match="mode='train' is none of 'tensor'"):
        model(batch['inputs'], mode='train')


def test_it_learns():
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        model = MODELS.build({**SMALL, 'dropout': 0.0}).train()
    batch = make_batch(16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model(**batch, mode='loss')['loss']
        loss.backward()
        optimizer.step()
    assert loss < 0.3  # of log(4) = 1.39


def test_accuracy_counts_shapes_and_classes():
    metric = ShapeAccuracy()
    found = {0: [0, 0, 1], 2: [2]}  # 2/3 and 1/1 right
    samples = [
        {
            'gt_instances_3d': {'labels_3d': torch.tensor([true])},
            'pred_instances_3d': {'labels_3d': torch.tensor([label])},
        }
        for true, labels in found.items()
        for label in labels
    ]
    metric.process({}, samples[:1])
    metric.process({}, samples[1:])
    assert metric.evaluate(4) == pytest.approx(
        {'shape/accuracy': 3 / 4, 'shape/class_accuracy': 5 / 6}
    )


@pytest.fixture(scope='module')
def graph(model):
    return trace_detector(model, make_batch(3))


def test_only_coordinates_and_classes_are_pinned(graph):
    assert graph.unknown_ops == ()
    assert set(graph.groups) - set(graph.free) == {
        *(f'backbone.SA_modules.{i}.mlps.0.layer0.conv.input' for i in (0, 1)),
        'pool.mlps.0.layer0.conv.input',
        'head.4',
    }
    assert all(
        group.size == 3 for n, group in graph.groups.items() if 'input' in n
    )


@pytest.mark.parametrize(
    'producer, consumer',
    [
        (
            'backbone.SA_modules.0.mlps.0.layer1.conv',
            'backbone.SA_modules.1.mlps.0.layer0.conv',
        ),
        (
            'backbone.SA_modules.1.mlps.0.layer1.conv',
            'pool.mlps.0.layer0.conv',
        ),
    ],
)
def test_features_are_read_behind_the_three_coordinates(
    graph, producer, consumer
):
    (columns,) = (
        piece
        for piece in graph.groups[producer].with_role(Role.COLUMN)
        if piece.tensor == f'{consumer}.weight'
    )
    size = graph.groups[producer].size
    assert columns.index.flatten().tolist() == [*range(3, 3 + size)]


def test_flops_are_those_of_torch(model, batch, graph):
    path = run_paths(model, batch).cost
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        path(model)
    assert graph.flops() == counter.get_total_flops() // 2


def test_the_narrow_model_equals_the_masked_one(model, batch, graph):
    counts = {n: -(-6 * g.size // 10) for n, g in graph.free.items()}
    generator = torch.Generator().manual_seed(0)
    keep = random_keep(graph, counts, generator)
    paths = run_paths(model, batch)
    mask_channels(model, graph, keep)
    narrow = slim(model, graph, keep)
    difference = compare(model, narrow, paths.cost)
    assert difference.aligned and difference.max_rel < 1e-5
