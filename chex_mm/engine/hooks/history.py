"""What a run did to its channels, step by step, in one small file.

The file is complete after every exploration step. Plain data and tensors
only; a resumed run goes on in the file that it finds.
"""

from __future__ import annotations

import io
import itertools
import logging
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from torch import Tensor

from ...errors import ChexError, one_line
from ...files import replacing
from ...graph.graph import ChannelGraph
from ...graph.groups import Role
from ...strategies.exploration import ChannelExplorer
from ...strategies.regrowth import regrow_factor

FILE = 'chex_history.pth'
# What is read of every entry.
ENTRY = dict(step=int, iteration=int, share=float, flops=int, parts=dict)


class History:
    """Writes masks and costs of a run into its work directory.

    Entry 0 is the initial sub-model, entry `n` what step `n` made.

    Args:
        work_dir: Of the run.
        explorer: As the run starts with it, or goes on with it.
        length: Iterations of the run.
    """

    def __init__(
        self,
        work_dir: str | Path,
        explorer: ChannelExplorer,
        length: int,
    ):
        self.path = Path(work_dir, FILE)
        self.explorer = explorer
        parts = cost_of_parts(explorer.graph, {})
        before = self._before()
        self.state = dict(
            groups={n: len(mask) for n, mask in explorer.keep.items()},
            budget=asdict(explorer.budget),
            execution=explorer.settings.execution,
            schedule=list(explorer.schedule),
            length=length,
            dense=dict(total_cost(parts), parts=parts),
            entries=before['entries'],
            scales=before['scales'],
        )
        done = explorer.steps_done
        self.add(explorer.schedule[done - 1] if done else 0)

    def add(self, iteration: int, seconds: float = 0.0) -> None:
        """Adds the sub-model of now; to be called after every step.

        Args:
            iteration: After which the explorer made it, from 1.
            seconds: That the step took.
        """
        explorer, entries = self.explorer, self.state['entries']
        step = explorer.steps_done
        if entries and entries[-1]['step'] == step:
            return  # a resumed run knows it
        if step and not self.state['scales'] and entries:
            self.state['scales'] = active_scales(
                explorer.graph,
                explorer.state_dict()['memory'],
                masks(self.state, entries[-1]),
            )
        parts = cost_of_parts(explorer.graph, explorer.keep)
        entries.append(
            dict(
                step=step,
                iteration=iteration,
                share=explorer.share(),
                regrow_factor=regrow_factor(
                    step / explorer.total_steps, explorer.settings.regrow
                ),
                seconds=seconds,
                **total_cost(parts),
                parts=parts,
                masks=_packed(explorer.keep),
            )
        )
        self._write()

    def _before(self) -> dict:
        """What the run did before it was resumed, if its file is there.

        A file that says something else is kept under another name: a run
        never depends on it.
        """
        done, nothing = self.explorer.steps_done, dict(entries=[], scales={})
        if not (done and is_main_process() and self.path.exists()):
            return nothing
        try:
            found = read_history(self.path)
            _check_groups(found, self.explorer.keep)
        except ChexError as error:
            kept = _set_aside(self.path)
            print_log(
                f'{error} The run goes on without it and begins a new one; '
                f'the old one is now {kept}.',
                logger='current',
                level=logging.WARNING,
            )
            return nothing
        entries = [e for e in found['entries'] if e['step'] <= done]
        return dict(entries=entries, scales=found['scales'])

    def _write(self) -> None:
        if is_main_process():
            with replacing(self.path) as unfinished:
                file = io.BytesIO()  # a full disk is then said as such
                torch.save(self.state, file)
                unfinished.write_bytes(file.getvalue())


def read_history(path: str | Path) -> dict:
    """What `History` wrote, see there.

    Raises:
        ChexError: It wrote something else.
    """
    try:
        found = torch.load(path, map_location='cpu', weights_only=True)
        if len(found['entries']) == 0:
            raise ValueError('no entry')
        for entry in found['entries']:
            masks(found, entry)
            for key, kind in ENTRY.items():
                if not isinstance(entry[key], kind):
                    raise TypeError(f'{key} is {entry[key]!r}')
        dict(found['scales'])
    except Exception as error:  # whatever a file may hold
        raise ChexError(
            f'{path} is not the history of a run: {type(error).__name__}: '
            f'{one_line(error)}.'
        ) from error
    return found


def _check_groups(found: Mapping, keep: Mapping[str, Tensor]) -> None:
    if found['groups'] != {name: len(mask) for name, mask in keep.items()}:
        raise ChexError('The history found is that of other channel groups.')


def _set_aside(path: Path) -> Path:
    """Gives a file a name that nothing has; returns that."""
    numbers = itertools.count(1)
    names = (path.with_name(f'{path.name}.old{n}') for n in numbers)
    free = next(name for name in names if not name.exists())
    return path.rename(free)


def masks(state: Mapping, entry: Mapping) -> dict[str, Tensor]:
    """The active channels of an entry, by group."""
    sizes = state['groups']
    bits = np.unpackbits(entry['masks'].numpy(), count=sum(sizes.values()))
    parts = torch.from_numpy(bits).bool().split(list(sizes.values()))
    return dict(zip(sizes, parts))


def active_scales(
    graph: ChannelGraph, tensors: Mapping[str, Tensor], keep: Mapping
) -> dict[str, Tensor]:
    """|scale| of the norms on active channels, by group.

    Args:
        graph: The channels.
        tensors: Dense, by name.
        keep: The active channels, by group.
    """
    found = {}
    for name, mask in keep.items():
        scales = [
            tensors[piece.tensor]
            .detach()
            .abs()
            .float()
            .cpu()[piece.positions(mask)]
            for piece in graph.groups[name].with_role(Role.SCALE)
        ]
        if scales:
            found[name] = torch.cat(scales)
    return found


def cost_of_parts(
    graph: ChannelGraph, keep: Mapping[str, Tensor]
) -> dict[str, dict[str, int]]:
    """FLOPs and parameters of the parts of a model, such as its stages."""
    counts = graph.counts(keep)
    flops, params = Counter(), Counter()
    for work in graph.work:
        flops[part_of(work.module)] += work.flops(counts)
    for name in sorted(graph.parameters):
        part = part_of(name.rpartition('.')[0])
        params[part] += math.prod(graph.shape(name, counts))
    return {
        part: dict(flops=flops[part], params=params[part])
        for part in dict.fromkeys([*flops, *params])
    }


def part_of(module: str) -> str:
    """The part of a model that a module path is in: its first two names."""
    return '.'.join(module.split('.')[:2])


def total_cost(parts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """FLOPs and parameters of all parts together."""
    return {
        key: sum(part[key] for part in parts.values())
        for key in ('flops', 'params')
    }


def _packed(keep: Mapping[str, Tensor]) -> Tensor:
    """All masks as bits, one after the other."""
    return torch.from_numpy(
        np.packbits(torch.cat([m.cpu() for m in keep.values()]).numpy())
    )
