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
from torch import nn

from ..engine.models.slim_model import plain_architecture, type_name
from ..errors import ChexError
from .slimming import Slimmed

WEIGHTS, REPORT = 'slim.pth', 'report.json'
CONFIG, STANDALONE = 'slim_config.py', 'standalone_config.py'
BUILDER = 'slim_model'
KERNELS = 'slim_kernels'
WRITTEN = {
    WEIGHTS,
    REPORT,
    CONFIG,
    STANDALONE,
    f'{BUILDER}.py',
    f'{KERNELS}.py',
}
MODELS = Path(__file__).parents[1] / 'engine' / 'models'
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

    Of a directory that is replaced, files of other names stay.

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
            _put_in_place(root, directory, Path(unfinished, 'old'))
    except OSError as error:
        raise ChexError(f'{directory} cannot be written: {error}') from error
    return report


def _put_in_place(root: Path, directory: Path, old: Path) -> None:
    """Makes `root` be `directory`; what was there is back if that fails."""
    if not directory.exists():
        root.rename(directory)
        return
    directory.rename(old)
    try:
        root.rename(directory)
    except OSError:
        old.rename(directory)
        raise
    for each in old.iterdir():
        if each.name not in WRITTEN:
            each.rename(directory / each.name)


def slim_config(config: Config, channels: dict[str, dict]) -> Config:
    """The config of the narrow model, complete in itself."""
    return _narrow_config(config, channels, 'SlimModel')


def standalone_config(config: Config, channels: dict[str, dict]) -> Config:
    """The same for an environment that knows nothing of chex_mm."""
    return _narrow_config(config, channels, 'StandaloneSlimModel')


def slim_report(slimmed: Slimmed) -> dict:
    """What the cut saves and that it changes nothing, as plain data.

    `flops` are multiply-adds of one image, of the size that the training
    pipeline gives; `file_bytes` are files with weights only.
    """
    graph, counts = slimmed.graph, slimmed.graph.counts(slimmed.keep)
    outputs = next(iter(slimmed.differences.values()))  # of raw heads
    return {
        'flops': {'dense': graph.flops(), 'slim': graph.flops(counts)},
        'params': {
            'dense': _parameters(slimmed.masked),
            'slim': _parameters(slimmed.narrow),
        },
        'file_bytes': {
            'dense': len(_weights_file(slimmed.masked, slimmed.meta)),
            'slim': len(_weights_file(slimmed.narrow, slimmed.meta)),
        },
        'max_abs_diff': outputs.max_abs,
        'max_rel_diff': outputs.max_rel,
        'differences': {
            mode: asdict(each) for mode, each in slimmed.differences.items()
        },
        'groups': {
            name: {'dense': group.size, 'slim': counts[name]}
            for name, group in graph.free.items()
        },
        'evaluate': {
            'with chex_mm': f'python tools/test.py {CONFIG} {WEIGHTS}',
            'without': f'python PACKAGE/.mim/tools/test.py {STANDALONE} '
            f'{WEIGHTS}  # PACKAGE is the folder of mmdet or mmdet3d',
        },
    }


def _narrow_config(
    config: Config, channels: dict[str, dict], builder: str
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
    content['custom_imports'] = _imports(
        content.get('custom_imports') or {}, builder
    )
    content.update(load_from=None, resume=False)
    return Config(content)


def _imports(custom: dict, builder: str) -> dict:
    """`custom_imports` with the module that registers `builder`."""
    names = custom.get('imports', [])
    names = [names] if isinstance(names, str) else names
    if builder == 'SlimModel':
        names = [*names, 'chex_mm.engine']
    else:
        own = [n for n in names if n.partition('.')[0] != 'chex_mm']
        names = [*own, BUILDER]
    return {**custom, 'imports': list(dict.fromkeys(names))}


def _fill(folder: Path, config: Config, slimmed: Slimmed) -> dict:
    """Writes all files and returns the report."""
    _write_config(folder / CONFIG, slim_config(config, slimmed.channels))
    text = standalone_config(config, slimmed.channels).pretty_text
    (folder / STANDALONE).write_text(FIND_BUILDER + text, encoding='utf-8')
    shutil.copyfile(MODELS / 'standalone.py', folder / f'{BUILDER}.py')
    if any('missing_columns' in each for each in slimmed.channels.values()):
        shutil.copy(MODELS / f'{KERNELS}.py', folder)
    (folder / WEIGHTS).write_bytes(_weights_file(slimmed.narrow, slimmed.meta))
    report = slim_report(slimmed)
    (folder / REPORT).write_text(json.dumps(report, indent=2) + '\n')
    return report


def _write_config(path: Path, config: Config) -> None:
    """A config is python text: it must say what was meant."""
    try:
        config.dump(path)
        found = Config.fromfile(path, import_custom_modules=False)
    except (SyntaxError, NameError) as error:
        raise ChexError(
            f'The config cannot be written as a file: {error}'
        ) from error
    wrong = [k for k, v in config.items() if found.get(k) != v]
    if wrong:
        raise ChexError(
            'The config cannot be written as a file: '
            f'{", ".join(wrong)} would read differently.'
        )


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _weights_file(model: nn.Module, meta: dict) -> bytes:
    file = io.BytesIO()
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, file)
    return file.getvalue()
