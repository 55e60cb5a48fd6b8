"""Normalisations: their vectors live with the channels they scale."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.instancenorm import _InstanceNorm

from ...graph.groups import Role
from ..labels import spread
from .table import rule, sizes

aten = torch.ops.aten
VECTORS = (
    ('weight', Role.SCALE),
    ('bias', Role.SHIFT),
    ('running_mean', Role.STATISTIC),
    ('running_var', Role.STATISTIC),
)


@rule(
    aten.native_batch_norm,
    aten.cudnn_batch_norm,
    aten.miopen_batch_norm,
)
def batch_norm(flow, call):
    channels = _tie_vectors(flow, call, flow.vector(call['input'], 1))
    return (spread(channels, call.out[0].shape, 1),)


@rule(aten.native_group_norm)
def group_norm(flow, call):
    """A norm group shares mean and variance: it lives and dies as one."""
    channels = _tie_vectors(flow, call, flow.vector(call['input'], 1))
    members = channels.view(call['group'], -1)
    flow.tie(members[:, :1].expand_as(members), members)
    return (spread(channels, call.out[0].shape, 1),)


@sizes(_InstanceNorm)
def instance_norm(module, args) -> dict:
    """Without vectors nothing else tells; torch compares it and warns."""
    if not args or module.weight is not None or module.track_running_stats:
        return {}
    dim = args[0].ndim - module._get_no_batch_dim()
    return {'num_features': [(args[0], dim)]}


def _tie_vectors(flow, call, channels: Tensor) -> Tensor:
    for name, role in VECTORS:
        vector = call.arguments.get(name)
        if isinstance(vector, Tensor) and vector not in flow.blank:
            labels = (
                flow.axis(vector, 0, role)
                if flow.is_named(vector)
                else flow.labels(vector)
            )
            flow.tie(channels, labels)
    return channels


@rule(aten.native_layer_norm)
def layer_norm(flow, call):
    """Mean and variance over channels change with every one cut."""
    ndim = call['input'].ndim
    dims = range(ndim - len(call['normalized_shape']), ndim)
    if flow.is_constant(call['input'], dims):
        return (flow.labels(call['input']),)
    flow.pin_inputs(call, f'{call.place} normalises over channels')
    return None


@rule(aten.renorm, aten.renorm_)
def clip_norm(flow, call):
    """The norm of each slice along `dim`, over all other dimensions."""
    x, dim = call['self'], call['dim'] % call['self'].ndim
    if flow.is_constant(x, [d for d in range(x.ndim) if d != dim]):
        return flow.labels(x)
    flow.pin_inputs(call, f'{call.place} normalises over channels')
    return None
