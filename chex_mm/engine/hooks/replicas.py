"""One exploration on several ranks: the first decides, all do the same.

Every rank checks that all hold identical masks whenever they change.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import (
    all_gather,
    broadcast,
    broadcast_object_list,
    get_rank,
    get_world_size,
)

from ...errors import ChexError
from ...graph.graph import ChannelGraph
from ...strategies.exploration import ChannelExplorer
from ...strategies.plan import Plan

# Whole numbers of as many bytes.
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def from_first_rank(make: Callable[[], Any], what: str) -> Any:
    """What rank 0 makes, on every rank.

    Args:
        make: Called on rank 0 alone.
        what: It does, for the message.

    Raises:
        ChexError: Rank 0 could not; says why on the others too, which would
            wait for it in vain.
    """
    found: list = [None, '']
    failure = None
    if get_rank() == 0:
        try:
            found[0] = make()
        except Exception as error:  # any of the model's own
            failure = error
            found[1] = f'{type(error).__name__}: {error}'
    broadcast_object_list(found)
    if failure is not None:
        raise failure
    if found[1]:
        raise ChexError(f'Rank 0 could not {what}. {found[1]}')
    return found[0]


def shared_graph(trace: Callable[[], ChannelGraph]) -> ChannelGraph:
    """The graph that rank 0 traces, on every rank.

    Costs may differ between devices: they count the proposals of a detector.
    """
    return from_first_rank(trace, 'trace the model')


def shared_plan(explorer: ChannelExplorer) -> Plan:
    """The plan of rank 0, on every rank."""
    if get_world_size() == 1:
        return explorer.plan()
    sizes = [len(mask) for mask in explorer.keep.values()]
    head = torch.empty(2, dtype=torch.float64)
    masks = torch.empty(2 * sum(sizes), dtype=torch.uint8)
    if get_rank() == 0:
        plan = explorer.plan()
        head = torch.tensor([plan.step, plan.regrow_factor]).double()
        masks = torch.cat(
            [
                part[name]
                for part in (plan.retained, plan.keep)
                for name in explorer.keep
            ]
        ).byte()
    broadcast(head)
    broadcast(masks)
    parts = masks.bool().split(sizes * 2)
    return Plan(
        int(head[0]),
        float(head[1]),
        retained=dict(zip(explorer.keep, parts)),
        keep=dict(zip(explorer.keep, parts[len(sizes) :])),
    )


def check_replicas(explorer: ChannelExplorer) -> None:
    """Refuses to go on when ranks hold different masks or weights.

    Raises:
        ChexError: Names the ranks that differ from the first.
    """
    if get_world_size() == 1:
        return
    own = torch.tensor([_mask_digest(explorer), _weight_digest(explorer)])
    digests = [each.tolist() for each in all_gather(own)]
    for what, column in zip(('active channels', 'weights'), zip(*digests)):
        differ = [r for r, each in enumerate(column) if each != column[0]]
        if differ:
            raise ChexError(
                f'After step {explorer.steps_done} the ranks '
                f'{", ".join(map(str, differ))} have other {what} than '
                'rank 0. Start all ranks with the same code, config, data '
                'and checkpoint.'
            )


def _mask_digest(explorer: ChannelExplorer) -> int:
    digest = 0
    for name, mask in explorer.keep.items():
        digest = zlib.crc32(name.encode(), digest)
        digest = zlib.crc32(mask.byte().cpu().numpy().tobytes(), digest)
    return digest


@torch.no_grad()
def _weight_digest(explorer: ChannelExplorer) -> int:
    """A checksum of all parameters; buffers are a rank's own.

    Sums of bits as whole numbers: in whatever order a device adds them, the
    result is the same.
    """
    sums = [
        parameter.contiguous().view(INTEGERS[parameter.itemsize]).sum()
        for parameter in explorer.model.parameters()
        if parameter.itemsize in INTEGERS
    ]
    return zlib.crc32(torch.stack(sums).cpu().numpy().tobytes())
