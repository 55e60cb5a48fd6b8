"""The directory that a narrow model is handed on in.

It appears complete or not at all, and what it holds evaluates with chex_mm
(`slim_config.py`) and without it (`standalone_config.py`).
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
from mmengine.config import Config

from ..errors import ChexError
from .deploy import Slimmed
from .models import standalone
from .models.slim_model import plain_architecture, type_name

WEIGHTS, REPORT = 'slim.pth', 'report.json'
CONFIG, STANDALONE = 'slim_config.py', 'standalone_config.py'
BUILDER = 'slim_model'  # a copy of models/standalone.py
# mmengine puts the folder of a config in place of the braces.
FIND_BUILDER = "import sys\n\nsys.path.insert(0, '{{ fileDirname }}')\n\n"


def check_target(directory: Path, overwrite: bool = False) -> None:
    """Refuses a directory that cannot, or must not, be written.

    Raises:
        ChexError: Says why.
    """
    if directory.exists():
        if not overwrite:
            raise ChexError(
                f'{directory} exists; pass --overwrite to replace it.'
            )
        if not (directory / WEIGHTS).is_file():
            raise ChexError(
                f'{directory} holds no {WEIGHTS}, so it is not overwritten; '
                'remove it or name another directory.'
            )
    parent = directory.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise ChexError(
            f'{directory} cannot be written: {parent} is not a '
            'writable directory.'
        )


def write_directory(
    directory: Path, config: Config, slimmed: Slimmed, overwrite: bool = False
) -> dict:
    """Writes configs, weights, the stand-alone builder and a report.

    Returns:
        What `report.json` holds.

    Raises:
        ChexError: The directory cannot be written.
    """
    check_target(directory, overwrite)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f'.{directory.name}-', dir=directory.parent
        ) as unfinished:
            root = Path(unfinished, directory.name)
            root.mkdir()
            report = _fill(root, config, slimmed)
            if directory.exists():
                directory.rename(Path(unfinished, 'old'))
            root.rename(directory)
    except OSError as error:
        raise ChexError(f'{directory} cannot be written: {error}') from error
    return report


def slim_config(config: Config, channels: dict[str, dict]) -> Config:
    """The config of the narrow model, complete in itself."""
    return _narrow_config(config, channels, 'SlimModel', 'chex_mm.engine')


def standalone_config(config: Config, channels: dict[str, dict]) -> Config:
    """The same for an environment that knows nothing of chex_mm."""
    return _narrow_config(config, channels, 'StandaloneSlimModel', BUILDER)


def _narrow_config(
    config: Config, channels: dict[str, dict], builder: str, module: str
) -> Config:
    content = config.to_dict()
    for key in ('work_dir', 'launcher'):  # of the run, not of the model
        content.pop(key, None)
    content['model'] = dict(
        type=builder,
        architecture=plain_architecture(content['model']),
        channels=channels,
    )
    content['custom_hooks'] = [
        hook
        for hook in content.get('custom_hooks') or []
        if not (isinstance(hook, dict) and type_name(hook) == 'CHEXHook')
    ]
    custom = content.get('custom_imports') or {}
    imports = custom.get('imports', [])
    imports = [imports] if isinstance(imports, str) else imports
    others = [name for name in imports if not name.startswith('chex_mm')]
    content['custom_imports'] = {**custom, 'imports': [*others, module]}
    content.update(load_from=None, resume=False)
    return Config(content)


def _fill(folder: Path, config: Config, slimmed: Slimmed) -> dict:
    narrow = slim_config(config, slimmed.channels)
    narrow.dump(folder / CONFIG)
    _check_config(folder / CONFIG, narrow)
    text = standalone_config(config, slimmed.channels).pretty_text
    (folder / STANDALONE).write_text(FIND_BUILDER + text, encoding='utf-8')
    shutil.copyfile(standalone.__file__, folder / f'{BUILDER}.py')
    torch.save(_weights(slimmed.narrow, slimmed.meta), folder / WEIGHTS)
    report = slim_report(slimmed)
    report['file_bytes']['slim'] = (folder / WEIGHTS).stat().st_size
    (folder / REPORT).write_text(json.dumps(report, indent=2))
    return report


def _check_config(path: Path, config: Config) -> None:
    """A config is python text: what it says must be what was meant."""
