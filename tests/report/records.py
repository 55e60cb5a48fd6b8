"""The record of a run, written by hand."""

from pathlib import Path

import torch

from chex_mm.report.record import RunRecord


def cost(flops, params):
    return dict(flops=flops, params=params)


def made_record(name='conv', **changes) -> RunRecord:
    """Two steps of a run; `name` is whatever a run may name freely."""
    parts = {name: cost(1000, 100)}
    entry = dict(regrow_factor=0.3, seconds=0.0, parts=parts)
    entries = [
        dict(entry, step=step, iteration=4 * step, share=share, **cost(800, 9))
        for step, share in enumerate((0.8, 0.6, 0.5))
    ]
    history = dict(
        groups={name: 4, 'other': 2},
        budget=dict(type='flops', keep=0.5, of='model'),
        execution='masked',
        schedule=[4, 8],
        length=12,
        dense=dict(cost(1000, 100), parts=parts),
        entries=entries,
    )
    masks = {name: torch.tensor([1, 1, 0, 1]), 'other': torch.ones(2)}
    masks = {each: mask.bool() for each, mask in masks.items()}
    fields = dict(
        directory=Path('work', name),
        history=history,
        keep=(masks,) * len(entries),
        metrics={name: ([4, 8], [0.5, 0.75])},
        by_epoch=False,
        checkpoint=None,
        slim=None,
        exported=None,
        config=name,
    )
    return RunRecord(**{**fields, **changes})
