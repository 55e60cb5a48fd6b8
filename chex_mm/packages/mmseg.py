"""What is known of mmsegmentation: its models learn a class per pixel."""

from __future__ import annotations

import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from torch import nn

from .package import (
    SAMPLES,
    Batch,
    Package,
    Shape,
    count_classes,
    noise_images,
    own_preprocessor,
)


def generated(model: nn.Module, config: Config, shape: Shape) -> Batch:
    """Images of noise with a map of classes each."""
    from mmseg.structures import SegDataSample

    generator = torch.Generator().manual_seed(0)
    classes = count_classes(model)
    meta = dict(img_shape=shape, ori_shape=shape, pad_shape=shape)
    samples = []
    for _ in range(SAMPLES):
        kinds = torch.randint(classes, (1, *shape), generator=generator)
        sample = SegDataSample(metainfo=meta)
        sample.gt_sem_seg = PixelData(data=kinds)
        samples.append(sample)
    images = noise_images(shape, generator)
    return dict(inputs=images, data_samples=samples)


def unpadded(model: nn.Module) -> nn.Module:
    """A copy of the preprocessor that makes no image larger.

    It pads to the size of a crop, which a real image has already and a
    generated one need not pay for.
    """
    preprocess = own_preprocessor(model)
    if getattr(preprocess, 'size', None) is not None:
        preprocess.size, preprocess.size_divisor = None, 1
    return preprocess


PACKAGE = Package(
    requirement='mmsegmentation>=1.2,<1.3',
    batch=generated,
    preprocessor=unpadded,
)
