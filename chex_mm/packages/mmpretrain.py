"""What is known of mmpretrain: its classifiers learn one label an image."""

from __future__ import annotations

import torch
from mmengine.config import Config
from torch import nn

from .package import (
    SAMPLES,
    Batch,
    Package,
    Shape,
    count_classes,
    noise_images,
)


def generated(model: nn.Module, config: Config, shape: Shape) -> Batch:
    """Images of noise with a label each."""
    from mmpretrain.structures import DataSample

    generator = torch.Generator().manual_seed(0)
    classes = count_classes(model)
    samples = []
    for label in torch.randint(classes, (SAMPLES,), generator=generator):
        sample = DataSample(metainfo=dict(img_shape=shape, ori_shape=shape))
        samples.append(sample.set_gt_label(label[None]))
    images = noise_images(shape, generator)
    return dict(inputs=images, data_samples=samples)


PACKAGE = Package(requirement='mmpretrain>=1.2,<1.3', batch=generated)
