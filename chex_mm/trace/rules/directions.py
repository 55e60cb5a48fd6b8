"""Weights that are stored as a length and a direction per channel.

`w = g v / |v|` (Salimans & Kingma 2016, equation 2): a masked channel has
length 0 and a direction that exists, so nothing is divided by zero.
"""

from __future__ import annotations

import torch

from ...graph.groups import Role
from ..labelling import Axes
from .table import rule, zeros

aten = torch.ops.aten
IN_AND_OUT = 2  # dimensions of a kernel that hold channels, the first ones


@rule(aten._weight_norm_interface)
def weight_norm(flow, call):
    """One norm per position along `dim`, over all other dimensions.

    Along those a masked channel is zero as anywhere, and adds nothing to a
    norm. Along `dim` the lengths stand for the weight: whether they compute
    channels or read them, the operator that takes it says.
    """
    v, g, dim = call['v'], call['g'], call['dim'] % call['v'].ndim
    if not (flow.is_named(v) and flow.is_named(g)):
        return NotImplemented
    if dim >= IN_AND_OUT:
        return Axes(flow.axes(v)), None
    vectors, lengths = flow.axis(v, dim, Role.DIRECTION), flow.axes(g)[dim]
    flow.tie(vectors, lengths)
    if flow.role(v, dim) is not Role.DIRECTION or not flow.vanishes(g):
        reason = f'{call.place} divides by its norm, others do not'
        flow.pin(vectors, reason)
    axes = list(flow.axes(v))
    axes[dim] = lengths
    return Axes(tuple(axes)), None


@zeros(aten._weight_norm_interface)
def of_no_length(flow, call) -> bool:
    """Of its outputs only the weight carries channels."""
    return True
