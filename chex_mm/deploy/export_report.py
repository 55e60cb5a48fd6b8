"""Exports a whole detector, file by file, and says what a user has to know.

All files appear together, with their report, or none does.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import nn

from ..cli.command_line import check_weights
from ..cli.progress import stage
from ..files import check_file, replacing
from .dense_part import Part, dense_parts, left_out
from .export import FORMATS, OPSET, Exported, check_installed, export
from .latency import latency
from .slimming import build_model

NAMES = {'onnx': 'onnxruntime', 'torchscript': 'TorchScript'}


@dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        form: A key of `FORMATS`.
        shape: Height and width of an image.
        opset: Version of ONNX's operators.
        batches: Sizes of a batch that are timed.
        repeats: Timed passes of each model; 0 for none.
    """

    form: str = 'onnx'
    shape: tuple[int, int] = (320, 320)
    opset: int = OPSET
    batches: tuple[int, ...] = (1, 8)
    repeats: int = 20


def export_detector(
    config: Config,
    checkpoint: str,
    out: Path,
    options: Options,
    overwrite: bool = False,
) -> dict:
    """Writes the files of a slim detector and returns their report.

    Args:
        config: Of the slim model.
        checkpoint: Its weights.
        out: The file of the dense part; the others and the report lie
            beside it.
        options: How.
        overwrite: Replace files.

    Raises:
        ChexError: There is nothing to export, or a file gives other outputs.
    """
    check_installed(options.form)
    check_file(out, overwrite)
    stage('build and run the slim model')
    slim = revert_sync_batchnorm(build_model(config))
    check_weights(slim, checkpoint)
    slim.eval()
    parts = dense_parts(slim, config, options.shape)
    names = [_file_name(out, part) for part in parts]
    report_name = f'{out.stem}.json'
    for name in (*names, report_name):
        check_file(out.with_name(name), overwrite)
    stage(f'write and compare {len(parts)} files')
    with replacing(out) as unfinished:
        written = [
            export(p, unfinished.with_name(n), options.form, options.opset)
            for p, n in zip(parts, names)
        ]
        report = _report(slim, parts, written, options)
        if options.repeats:
            dense = _dense_twin(config, options)
            report['latency_ms'] = _measure(
                parts[0], unfinished, dense, options
            )
        text = json.dumps(report, indent=2) + '\n'
        unfinished.with_name(report_name).write_text(text)
    return report


def _file_name(out: Path, part: Part) -> str:
    if part.name == 'dense':
        return out.name
    return f'{out.stem}.{part.name}{out.suffix}'


def _dense_twin(config: Config, options: Options) -> Part | None:
    """The dense part that the slim one was cut from; its weights are random.

    None if the config does not say what that was.
    """
    architecture = config.model.get('architecture')
    if architecture is None:
        return None
    twin = Config({**config.to_dict(), 'model': architecture})
    model = revert_sync_batchnorm(build_model(twin))
    return dense_parts(model.eval(), twin, options.shape)[0]


def _measure(
    slim: Part, file: Path, dense: Part | None, options: Options
) -> dict[str, dict[str, float]]:
    """Milliseconds by batch and model, all models in turn."""
    _, read, ending = FORMATS[options.form]
    runtime = NAMES[options.form]
    models = {'slim PyTorch': slim.module, f'slim {runtime}': read(file)}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        parts = dict.fromkeys(models.values(), slim)
        if dense is not None:
            path = Path(folder, f'dense{ending}')
            export(dense, path, options.form, options.opset)
            models['dense PyTorch'] = dense.module
            models[f'dense {runtime}'] = read(path)
        for batch in options.batches:
            stage(f'measure batches of {batch}')
            # What comes before the dense part may be narrow as well.
            inputs = {
                model: parts.get(model, dense).example(batch)
                for model in models.values()
            }
            found[str(batch)] = latency(
                models, lambda m, x=inputs: m(x[m]), options.repeats
            )
    return found


def _report(
    model: nn.Module,
    parts: Sequence[Part],
    written: Sequence[Exported],
    options: Options,
) -> dict:
    return {
        'format': options.form,
        'opset': options.opset if options.form == 'onnx' else None,
        'image': _normalisation(model),
        'files': {
            file.name: {
                'part': part.name,
                'input': ['batch', *part.shape],
                'outputs': _shapes(part),
                'max_abs_diff': file.max_abs,
                'max_rel_diff': file.max_rel,
            }
            for part, file in zip(parts, written)
        },
        'left_out': list(left_out(model, parts)),
    }


@torch.no_grad()
def _shapes(part: Part) -> dict[str, list]:
    """Outputs by name, with 'batch' where the batch is."""
    outputs = part.module(part.example(2))
    return {
        name: ['batch', *output.shape[1:]]
        for name, output in zip(part.names, outputs)
    }


def _normalisation(model: nn.Module) -> dict | None:
    """What has to be done to an image first; None for other data."""
    preprocess = getattr(model, 'data_preprocessor', None)
    mean = getattr(preprocess, 'mean', None)
    if mean is None:
        return None
    swapped = getattr(preprocess, '_channel_conversion', False)
    return {
        'channels': 'RGB' if swapped else 'BGR',
        'mean': mean.flatten().tolist(),
        'std': preprocess.std.flatten().tolist(),
        'pad_size_divisor': getattr(preprocess, 'pad_size_divisor', 1),
    }
