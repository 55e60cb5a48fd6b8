"""What became of channels and what it cost, from records by hand."""

import pytest
import torch

from chex_mm.report.numbers import (
    FATES,
    fates,
    main_metrics,
    running_compute,
)

from .records import made_record

# A column per channel; after its name what becomes of it.
STEPS = """
1 0 1 1 0 1 0
1 0 0 0 1 1 0
1 1 1 0 0 0 0
1 1 1 0 0 1 0
"""
EXPECTED = {
    'always active': 1,  # 0
    'came back and stayed': 3,  # 1, 2, 5
    'came back and left again': 1,  # 4
    'left for good': 1,  # 3
    'never active': 1,  # 6
}


def history():
    return [
        {'conv': torch.tensor([word == '1' for word in line.split()])}
        for line in STEPS.strip().splitlines()
    ]


def test_every_channel_has_one_fate():
    (found,) = fates(history()).values()
    assert dict(zip(FATES, found)) == EXPECTED
    assert sum(found) == 7


def test_groups_are_told_apart():
    two = [{**masks, 'other': ~masks['conv']} for masks in history()]
    found = fates(two)
    assert found['conv'] == list(EXPECTED.values())
    assert found['other'] == [1, 2, 2, 1, 1]


def test_compute_is_the_share_of_each_stretch():
    run = dict(
        length=100,
        dense=dict(flops=1000),
        entries=[
            dict(iteration=0, flops=800),
            dict(iteration=40, flops=600),
            dict(iteration=60, flops=500),
        ],
    )
    at, spent = running_compute(run)
    assert at == [0, 40, 60, 100]
    assert spent == pytest.approx([0, 0.32, 0.32 + 0.12, 0.44 + 0.2])


def test_what_was_before_the_first_entry_counts_as_dense():
    run = dict(
        length=10,
        dense=dict(flops=2),
        entries=[dict(iteration=4, flops=1)],
    )
    assert running_compute(run)[1] == pytest.approx([0.4, 0.7])


def test_details_of_a_metric_are_left_out():
    names = 'coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP', 'mAR'
    record = made_record(metrics=dict.fromkeys(names, ([1], [0.5])))
    found = main_metrics(record)
    assert found == ['mAR', 'coco/bbox_mAP', 'coco/segm_mAP']
