"""PAConv's sum over a bank of weights, by the scores of each neighbour.

Loops instead of matrices: the features of all neighbours at once, for every
entry of the bank, would not fit into memory.
"""

from __future__ import annotations

import numpy as np
import torch
from mmcv.ops.assign_score_withk import AssignScoreWithK

from .compiled import compiled, in_parts, numbers
from .install import cpu_kernel


@cpu_kernel(AssignScoreWithK)
def assign_scores(ctx, *inputs):
    """sum_m scores (B, n, K, M) * (points - centres) (B, N, M, O).

    Takes scores, points, centres and the neighbours (B, n, K), of which the
    first is the centre; one out of range gives 0. mmcv's CUDA kernel sums
    whatever `aggregate`, the last input, says, and so does this.

    Returns:
        (B, O, n, K)
    """
    scores, points, _, neighbours = inputs[:4]
    _check(points, neighbours)
    ctx.save_for_backward(*inputs[:4])
    arrays = [numbers(tensor) for tensor in inputs[:4]]
    shape = (*neighbours.shape, points.shape[-1])
    out = np.zeros(shape, arrays[1].dtype)

    def part(first, last):
        for cloud in range(first, last):
            _add_up(tuple(array[cloud] for array in arrays), out[cloud])

    in_parts(part, len(out))
    out = torch.from_numpy(out).to(points.dtype)
    return out.permute(0, 3, 1, 2).contiguous()


@cpu_kernel(AssignScoreWithK, 'backward')
def assign_scores_backward(ctx, grad_out):
    """The gradients of scores, points and centres."""
    given = numbers(grad_out.permute(0, 2, 3, 1))
    arrays = [numbers(tensor) for tensor in ctx.saved_tensors]
    grads = [np.zeros(array.shape, given.dtype) for array in arrays[:3]]

    def part(first, last):
        for cloud in range(first, last):
            _add_back(
                tuple(array[cloud] for array in arrays),
                given[cloud],
                tuple(grad[cloud] for grad in grads),
            )

    in_parts(part, len(given))
    grads = [torch.from_numpy(grad).to(grad_out.dtype) for grad in grads]
    return (*grads, None, None)


def _check(points, neighbours):
    first = neighbours[..., 0]
    if first.numel() and not 0 <= first.min() <= first.max() < points.shape[1]:
        raise ValueError(
            'assign_score_withk takes the first neighbour as the centre; '
            f'found {int(first.min())} to {int(first.max())} for points '
            f'{tuple(points.shape)}.'
        )


@compiled
def _add_up(cloud, out):
    scores, points, centres, neighbours = cloud
    for n in range(out.shape[0]):
        centre = centres[neighbours[n, 0]]
        for k in range(out.shape[1]):
            near = neighbours[n, k]
            if near < 0 or near >= len(points):
                continue
            for m in range(scores.shape[2]):
                for o in range(out.shape[2]):
                    distance = points[near, m, o] - centre[m, o]
                    out[n, k, o] += distance * scores[n, k, m]


@compiled
def _add_back(cloud, given, grads):
    scores, points, centres, neighbours = cloud
    for n in range(given.shape[0]):
        middle = neighbours[n, 0]
        for k in range(given.shape[1]):
            near = neighbours[n, k]
            if near < 0 or near >= len(points):
                continue
            for m in range(scores.shape[2]):
                for o in range(given.shape[2]):
                    distance = points[near, m, o] - centres[middle, m, o]
                    grads[0][n, k, m] += distance * given[n, k, o]
                    share = scores[n, k, m] * given[n, k, o]
                    grads[1][near, m, o] += share
                    grads[2][middle, m, o] -= share
