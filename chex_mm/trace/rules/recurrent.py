"""Recurrent layers: the columns that read their input are free.

A hidden state meets itself in the next step, so its rows are its columns;
inside of one kernel it keeps its size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...graph.groups import Role
from .table import rule, sizes

aten = torch.ops.aten


@rule(aten.mkldnn_rnn_layer)
def read(flow, call):
    """A layer's input, (steps, batch, channels), and its four tensors."""
    columns = flow.axis(call['weight0'], 1, Role.COLUMN)
    vector = flow.vector(call['input'], call['input'].ndim - 1)
    flow.tie(vector, columns)
    reason = f'{call.place} keeps its hidden size'
    rows = flow.axis(call['weight0'], 0, Role.ROW)
    flow.pin(rows, reason)
    hidden = call['weight1']
    for dim, role in enumerate((Role.ROW, Role.COLUMN)):
        flow.pin(flow.axis(hidden, dim, role), reason)
    for name in ('weight2', 'weight3', 'hx_', 'cx_'):
        if flow.has_channels(call[name]):
            flow.pin(flow.labels(call[name]), reason)
    positions = call['input'].numel() // max(len(vector), 1)
    flow.count(call, positions, rows, vector)
    flow.count(call, positions, rows, _fixed(hidden.shape[1]))
    return None


@rule(aten.transpose_)
def turn(flow, call):
    """What a layer returns for `batch_first` is turned in place."""
    x = call['self']
    if flow.is_named(x) or x._base is not None:
        return NotImplemented
    return flow.labels(x).transpose(call['dim0'], call['dim1'])


@sizes(nn.RNNBase, nn.RNNCellBase)
def state(module, args):
    """What comes out is what goes in at the next step: rows are columns."""
    size = 'proj_size' if getattr(module, 'proj_size', 0) else 'hidden_size'
    weights = [
        (name, tensor)
        for name, tensor in module.named_parameters()
        if name.startswith('weight')
    ]
    columns = [(w, 1) for name, w in weights if name.startswith('weight_hh')]
    rows = [(weight, 0) for _, weight in weights]  # told apart by length
    return {size: columns + rows}


def _fixed(length: int) -> Tensor:
    """Positions that hold no channel."""
    return torch.zeros(length, dtype=torch.long)
