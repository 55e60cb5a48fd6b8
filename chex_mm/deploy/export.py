"""A slim model as a file that runs without PyTorch's Python code.

Nothing is written that does not give the outputs of the model, for batches of
other sizes than the one it was recorded with.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import ChexError
from ..registry import is_installed
from .dense_part import Part

OPSET = 17
MOST_APART = 1e-4  # of the largest value of an output
RECORDED = 2  # samples while recording; 1 would be taken for a constant
BATCHES = (1, 2, 3)  # that are compared
NEEDS_ONNX = ('onnx', 'onnxruntime')


@dataclass(frozen=True)
class Exported:
    """A file, and how far its outputs are from the model's.

    Attributes:
        name: Of the file.
        max_abs: Largest |a - b| over all outputs and batches.
        max_rel: Largest |a - b| / max |a| of one output.
    """

    name: str
    max_abs: float
    max_rel: float

    def __str__(self):
        return (
            f'{self.name}: largest difference {self.max_abs:.1e} '
            f'({self.max_rel:.1e} relative) at batches '
            f'{", ".join(map(str, BATCHES))}'
        )


class OnnxModel(nn.Module):
    """An ONNX file that is called like a module, on the CPU.

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=['CPUExecutionProvider']
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The outputs, in order."""
        found = self.session.run(None, {'input': x.numpy()})
        return tuple(map(torch.from_numpy, found))


def write_onnx(part: Part, path: Path, opset: int = OPSET) -> None:
    """Writes a part as ONNX; the batch of every input and output is free."""
    names = ('input', *part.names)
    options = dict(
        input_names=['input'],
        output_names=list(part.names),
        dynamic_axes={name: {0: 'batch'} for name in names},
        opset_version=opset,
    )
    # The older exporter: the other needs a package more, and torch 2.5.
    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        options['dynamo'] = False
    torch.onnx.export(
        part.module, (part.example(RECORDED),), str(path), **options
    )


def write_torchscript(part: Part, path: Path, opset: int = OPSET) -> None:
    """Writes a part as a TorchScript file, recorded."""
    recorded = torch.jit.trace(
        part.module, part.example(RECORDED), check_trace=False
    )
    recorded.save(str(path))


def read_torchscript(path: Path) -> nn.Module:
    """The module of a TorchScript file."""
    return torch.jit.load(str(path), map_location='cpu')


# Format to (how it is written, how it is read, its ending).
FORMATS: Mapping[str, tuple[Callable, Callable, str]] = {
    'onnx': (write_onnx, OnnxModel, '.onnx'),
    'torchscript': (write_torchscript, read_torchscript, '.pt'),
}


def check_installed(form: str) -> None:
    """Refuses a format whose packages are not there.

    Raises:
        ChexError: Says what to install.
    """
    missing = [name for name in NEEDS_ONNX if not is_installed(name)]
    if form == 'onnx' and missing:
        raise ChexError(
            f'ONNX needs {" and ".join(missing)}. Install the extra: '
            "pip install -e '.[export]'"
        )


def export(
    part: Part, path: Path, form: str = 'onnx', opset: int = OPSET
) -> Exported:
    """Writes a part and holds the file against the module.

    Raises:
        ChexError: It cannot be written, or its outputs differ.
    """
    write, read, _ = FORMATS[form]
    with _quiet():
        try:
            with torch.no_grad():
                write(part, path, opset)
            found = largest_difference(part, read(path))
        except Exception as error:
            reason = str(error).strip().partition('\n')[0]
            raise ChexError(
                f'{part.name} cannot be written as {form}: '
                f'{type(error).__name__}: {reason}'
            ) from error
    exported = Exported(path.name, *found)
    if not exported.max_rel <= MOST_APART:
        raise ChexError(
            f'{exported}, more than {MOST_APART:.0e} is allowed, so '
            'nothing is written. Please report the architecture.'
        )
    return exported


@torch.no_grad()
def largest_difference(
    part: Part, other: Callable[[Tensor], tuple[Tensor, ...]]
) -> tuple[float, float]:
    """Absolute and relative, over all outputs and some sizes of batch."""
    absolute = relative = 0.0
    for batch in BATCHES:
        x = part.example(batch)
        for ours, theirs in zip(part.module(x), other(x)):
            if ours.shape != theirs.shape:
                return float('inf'), float('inf')
            apart = float((ours - theirs).abs().max())
            if not math.isfinite(apart):
                return float('inf'), float('inf')
            most = float(ours.abs().max())
            absolute = max(absolute, apart)
            relative = max(relative, apart / most if most else apart)
    return absolute, relative


@contextmanager
def _quiet():
    """Without what the exporters tell about themselves and sizes."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
