"""Noise that mmpretrain's classifiers learn from: images, one label each."""

from __future__ import annotations

import torch
from mmpretrain.structures import DataSample


def labelled_images(
    shape: tuple[int, int, int], classes: int, count: int
) -> dict:
    """A batch as mmpretrain's data loader collates it.

    Args:
        shape: (channels, height, width) of an image.
        classes: That labels are drawn from.
        count: Images of the batch.
    """
    generator = torch.Generator().manual_seed(0)
    samples = []
    for label in torch.randint(classes, (count,), generator=generator):
        sample = DataSample(
            metainfo=dict(img_shape=shape[1:], ori_shape=shape[1:])
        )
        samples.append(sample.set_gt_label(label[None]))
    images = torch.randint(256, (count, *shape), generator=generator)
    return dict(inputs=list(images.to(torch.uint8)), data_samples=samples)
