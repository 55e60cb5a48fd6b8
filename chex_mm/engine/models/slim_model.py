"""The narrow model that a slim config describes.

It is the real detector object: same class, attributes and state-dict keys as
the dense model, only with fewer channels in its layers.
"""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS
from torch import nn
from torch.distributed import is_initialized

from ...surgery import SlimSpec, narrow_

WRAPPERS = ('MaskedBackbone', 'masked_backbone')


@MODELS.register_module(name='SlimModel')
def slim_model(
    architecture: dict, channels: dict, data_preprocessor: dict | None = None
) -> nn.Module:
    """Builds `architecture` and makes it narrow.

    Args:
        architecture: The model config of the dense model.
        channels: What differs from it, as of `SlimSpec`.
        data_preprocessor: From the top level of the config, where mmengine's
            Runner looks if the architecture brings none.
    """
    architecture = plain_architecture(architecture)
    if data_preprocessor is not None:
        architecture.setdefault('data_preprocessor', data_preprocessor)
    return narrow_(MODELS.build(architecture), SlimSpec(channels))


def plain_architecture(config: Any) -> Any:
    """A model config without pre-trained weights and `MaskedBackbone`.

    mmcv's `MMSyncBN`, which cannot be built outside of a distributed run, is
    there the `BN` that it is in evaluation.
    """
    if isinstance(config, dict):
        if type_name(config) in WRAPPERS:
            return plain_architecture(config['backbone'])
        plain = type(config)(
            (key, plain_architecture(value))
            for key, value in config.items()
            if not is_pretrained(key, value)
        )
        if type_name(plain) == 'MMSyncBN' and not is_initialized():
            plain['type'] = 'BN'
        return plain
    if isinstance(config, (list, tuple)):
        return type(config)(map(plain_architecture, config))
    return config


def type_name(config: dict) -> str:
    """Name of what a config builds, without scope or module path."""
    found = config.get('type', '')
    name = found if isinstance(found, str) else found.__name__
    return name.rpartition('.')[2]


def is_pretrained(key: str, value: Any) -> bool:
    """Whether an entry of a config names weights to start from."""
    if key == 'pretrained':
        return isinstance(value, str)
    parts = value if isinstance(value, (list, tuple)) else [value]
    return key == 'init_cfg' and any(
        isinstance(part, dict) and type_name(part).startswith('Pretrained')
        for part in parts
    )
