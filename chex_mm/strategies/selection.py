"""Column subset selection: which channels span best what a layer computes.

Pure functions of a Gram matrix `W^T W` in float64, shaped (channels, members,
channels, members); rank-deficient matrices give exact answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Leverage scores and norms closer than this are ties: float64 noise of an
# eigenvector is below it, differences that matter are above.
TIE_DECIMALS = 9

# Below this ratio of pivots a Cholesky factor may hide a rank deficiency.
SAFE_PIVOT = 1e-6


def gram(weights: Sequence[Tensor]) -> Tensor:
    """`W^T W` of the stacked producers, each (channels, members, fan_in).

    A producer with fewer members per channel than another gets zero columns.
    """
    size, members = len(weights[0]), max(w.shape[1] for w in weights)
    total = 0.0
    for weight in weights:
        padded = F.pad(weight, (0, 0, 0, members - weight.shape[1]))
        rows = padded.flatten(0, 1)
        rows = rows[:, rows.any(0)].double()  # inactive inputs add nothing
        total = total + rows @ rows.T
    return total.view(size, members, size, members)


def leverage_scores(gram: Tensor, k: int) -> Tensor:
    """psi_j = ||V_k[j]||^2 of the top min(k, rank) eigenvectors.

    A channel of m columns counts as m of them, and its scores add up.
    """
    size, members = gram.shape[:2]
    values, vectors = torch.linalg.eigh(_flat(gram))
    k = min(k * members, int((values > _tolerance(values)).sum()))
    columns = vectors[:, len(vectors) - k :].square().sum(1)
    return columns.view(size, members).sum(1)


def select_columns(gram: Tensor, k: int) -> Tensor:
    """Mask (CPU) of the k channels with the largest leverage scores.

    Ties go to the larger norm, then to the lower position.
    """
    size, members = gram.shape[:2]
    mask = torch.ones(size, dtype=torch.bool)
    if k >= size:
        return mask
    squares = _flat(gram).diagonal().view(size, members).sum(1)
    squares = squares / squares.max().clamp(min=torch.finfo(gram.dtype).tiny)
    order = torch.arange(size)
    for key in (squares, leverage_scores(gram, k)):  # the last one decides
        key = key.cpu().round(decimals=TIE_DECIMALS)[order]
        order = order[key.argsort(descending=True, stable=True)]
    mask[order[k:]] = False
    return mask


def residuals(gram: Tensor, retained: Tensor) -> Tensor:
    """||w_j - P_T w_j||^2 of each channel (CPU), 0 for the retained T."""
    size, members = gram.shape[:2]
    columns = _flat(gram)
    inside = retained.to(gram.device).repeat_interleave(members)
    rows = columns[inside]
    left = torch.zeros_like(columns.diagonal())
    left[~inside] = (
        columns.diagonal()[~inside]
        - _projected(rows[:, inside], rows[:, ~inside])
    ).clamp(min=0)
    return left.view(size, members).sum(1).cpu()


def _flat(gram: Tensor) -> Tensor:
    return gram.flatten(2).flatten(0, 1)


def _projected(inner: Tensor, cross: Tensor) -> Tensor:
    """Squared length of the outer columns' projections on the inner ones.

    Cholesky where it is safe, otherwise the eigenvectors that are no noise.
    """
    factor, failed = torch.linalg.cholesky_ex(inner)
    pivots = factor.diagonal().square()
    if not failed and pivots.min() > SAFE_PIVOT * pivots.max():
        whitened = torch.linalg.solve_triangular(factor, cross, upper=False)
    else:
        values, vectors = torch.linalg.eigh(inner)
        real = values > _tolerance(values)
        whitened = vectors[:, real].T @ cross / values[real, None].sqrt()
    return whitened.square().sum(0)


def _tolerance(values: Tensor) -> Tensor:
    """Eigenvalues up to this are rounding errors of zero."""
    noise = 10 * len(values) * torch.finfo(values.dtype).eps
    return values[-1].clamp(min=0) * noise
