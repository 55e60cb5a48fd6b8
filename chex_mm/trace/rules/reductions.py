"""Reductions and orderings: within a channel they pass, across they pin."""

from __future__ import annotations

import torch

from ..labels import varying
from . import weights
from .table import rule

aten = torch.ops.aten
# Zero where all that they reduce is.
KEEPING_ZEROS = (
    aten.mean,
    aten.sum,
    aten.amax,
    aten.amin,
    aten.aminmax,
    aten.var,
    aten.var_mean,
    aten.std,
    aten.std_mean,
    aten.norm,
    aten.linalg_vector_norm,
    aten.max.dim,
    aten.min.dim,
    aten.median.dim,
)


def _dims(call) -> list[int]:
    ndim = call.inputs[0].ndim
    dims = call.arguments.get('dim')
    if dims is None or dims == []:
        return list(range(ndim))
    dims = [dims] if isinstance(dims, int) else dims
    return [d % ndim for d in dims] if ndim else []


@rule(
    *KEEPING_ZEROS,
    aten.logsumexp,
    aten.prod,
    aten.any,
    aten.all,
    aten.argmax,
    aten.argmin,
    aten.median,
    aten.nanmedian,
    aten.nansum,
    aten.mode,
    aten.count_nonzero,
    aten.max,
    aten.min,
)
def reduce(flow, call):
    dims = _dims(call)
    if flow.is_weight(call.inputs[0]):
        return weights.reduced(flow, call, dims)
    labels = flow.labels(call.inputs[0])
    over = varying(labels)
    if not set(over).isdisjoint(dims):
        reason = f'{call.place} reduces over channels'
        _keep_rows(flow, call, dims)
        if weights.adds_up(flow, call) and set(over) <= set(dims):
            return None
        if call.key is aten.sum:  # may be the idiom `x.sum() * 0`
            flow.defer(call.out, labels, reason)
        else:
            flow.pin_inputs(call, reason)
        return None
    for dim in dims:
        labels = labels.narrow(dim, 0, 1)
    if call.outs[0].ndim != labels.ndim:
        for dim in sorted(dims, reverse=True):
            labels = labels.squeeze(dim)
    return (labels,) * len(call.outs)


def _keep_rows(flow, call, dims: list[int]) -> None:
    """`x.view(n, c, -1).sum(2)` reduces within channels if rows are whole."""
    x = call.inputs[0]
    place = flow.slotted.get(x)
    if call.key is aten.sum and place and dims == [x.ndim - 1]:
        flow.facts.rows.add(place)


@rule(
    aten._softmax,
    aten._log_softmax,
    aten.cumsum,
    aten.cumprod,
    aten.logcumsumexp,
    aten.cummax,
    aten.cummin,
    aten.sort,
    aten.topk,
    aten.kthvalue,
)
def order(flow, call):
    x = call['self']
    dim = call.arguments.get('dim')
    dim = (x.ndim - 1 if dim is None else dim) % max(x.ndim, 1)
    if x.ndim and not flow.is_constant(x, (dim,)):
        flow.pin_inputs(call, f'{call.place} compares channels')
        return None
    labels = flow.labels(x)
    if x.ndim:
        labels = labels.narrow(dim, 0, min(1, x.shape[dim]))
    if call.outs[0].ndim < labels.ndim:
        labels = labels.squeeze(dim)
    return tuple(labels.expand(out.shape) for out in call.outs)
