"""Figures of a run: whatever it names, they draw it as it is."""

from io import BytesIO

import cv2
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import nn

from chex_mm.report import figures
from chex_mm.report.pair import Pair

from .records import made_record


def drawn(figure):
    """The pixels of a figure, (height, width, RGB)."""
    file = BytesIO()
    figure.savefig(file, dpi=100)
    data = np.frombuffer(file.getvalue(), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize('name', ['$\\frac{$', '$x$', 'a$b', '$', '$$', 'a_b'])
def test_a_name_is_drawn_as_it_is(name):
    """matplotlib takes what is between two $ for a formula."""
    figure = Figure()
    axes = figure.subplots()
    axes.set_yticks([0], [figures.legible(name)])
    axes.plot([0, 1], label=figures.legible(f'x{name}'))
    figure.legend()
    drawn(figure)
    text, is_formula = axes.get_yticklabels()[0]._preprocess_math(
        figures.legible(name)
    )
    assert (text.replace(r'\$', '$'), is_formula) == (name, False)


@pytest.mark.parametrize(
    'draw',
    [figures.active_channels, figures.channel_fates, figures.cost_and_budget],
)
def test_a_run_is_drawn(draw):
    image = drawn(draw(made_record('$\\frac{$')))
    assert image.shape[1] == pytest.approx(100 * figures.WIDTH, abs=1)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 10


def test_few_steps_have_room_for_numbers(monkeypatch):
    def texts():
        axes, _ = figures.active_channels(made_record()).axes
        return [each.get_text() for each in axes.texts]

    assert texts() == ['3'] * 3 + ['2'] * 3
    monkeypatch.setattr(figures, 'COUNTED', 2)
    assert texts() == []


def test_cost_compute_and_budget_are_in_one_figure():
    (axes,) = figures.cost_and_budget(made_record()).axes
    lines = {each.get_label(): each for each in axes.lines}
    at = [0, 4, 8, 12]
    for name, where, values in (
        ('FLOPs share of dense', at, [0.8, 0.6, 0.5, 0.5]),
        ('regrow factor δ', at, [0.3] * 4),
        ('compute of the sub-models', [0, *at], np.r_[0, 0:4] * 0.8 / 3),
    ):
        assert lines[name].get_xdata() == pytest.approx(where)
        assert lines[name].get_ydata() == pytest.approx(values)
    assert [*lines['budget'].get_ydata()] == [0.5, 0.5]


def test_latencies_are_bars_of_both_models():
    times = {1: dict(dense=9.0, slim=6.0), 8: dict(dense=70.0, slim=40.0)}
    (axes,) = figures.latencies(times).axes
    assert [bar.get_width() for bar in axes.patches] == [9, 70, 6, 40]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ['batch 1', 'batch 8']


class Room(nn.Module):
    """A detector that finds two boxes with given scores."""

    def __init__(self, *scores):
        super().__init__()
        self.scores = scores

    def test_step(self, batch):
        from mmdet3d.structures import DepthInstance3DBoxes
        from mmengine.structures import InstanceData

        (sample,) = batch['data_samples']
        sample.pred_instances_3d = InstanceData(
            bboxes_3d=DepthInstance3DBoxes(
                [[0.0, 0, 0, 1, 2, 1, 0], [1.5, 0, 0, 0.5, 0.5, 1, 0]]
            ),
            scores_3d=torch.tensor(self.scores),
            labels_3d=torch.tensor([0, 1]),
        )
        return [sample]


def colours_beside(*models):
    """The colours of the panels of two models."""
    from mmdet3d.structures import Det3DDataSample

    points = torch.rand(50, 4, generator=torch.Generator().manual_seed(1))
    sample = dict(inputs=dict(points=points), data_samples=Det3DDataSample())
    metainfo = {'classes': ('bed', '$\\frac{$')}
    pair = Pair(*models, 'dense run', [sample, sample], metainfo, config={})
    image = drawn(figures.detections(pair))
    middle = image.shape[1] // 2
    return [
        {tuple(map(int, colour)) for colour in half.reshape(-1, 3)}
        for half in (image[:, :middle], image[:, middle:])
    ]


def test_clouds_show_the_boxes_above_the_score():
    pytest.importorskip('mmdet3d.structures', reason='needs mmdet3d')
    first, second = (
        tuple(round(255 * part) for part in to_rgb(colour))
        for colour in figures.BOX_COLOURS[:2]
    )
    both, one = colours_beside(Room(0.9, 0.6), Room(0.9, 0.2))
    assert first in both and second in both
    assert first in one and second not in one
    none, _ = colours_beside(Room(0.1, 0.1), Room(0.9, 0.9))
    assert first not in none and second not in none
