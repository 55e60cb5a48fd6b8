"""Small sparse networks, and what their kernels compute, by brute force."""

from itertools import product

import torch
from torch import nn

SIDE = 5
KERNEL = list(product(range(3), repeat=3))  # of 3 x 3 x 3, in memory order
WIDTHS = 3, 8, 10, 12


def cloud(seed=0):
    """Random sites (batch, z, y, x) of two scenes, and their features."""
    generator = torch.Generator().manual_seed(seed)
    batch = torch.randint(2, (60, 1), generator=generator)
    sites = torch.randint(SIDE, (60, 3), generator=generator)
    sites = torch.cat([batch, sites], dim=1).unique(dim=0).int()
    features = torch.randn(len(sites), WIDTHS[0], generator=generator)
    return features, sites


def count_pairs(sites, stride=None):
    """(input, output) sites that a padded kernel of 3 joins; and outputs.

    Without a stride the outputs are the inputs.
    """
    active = set(map(tuple, sites.tolist()))
    outputs, pairs = set(active), 0
    if stride:
        outputs = set()
    for batch, *site in active:
        for offset in KERNEL:
            steps = [s + 1 - o for s, o in zip(site, offset)]
            if stride and any(s % stride for s in steps):
                continue
            target = tuple(s // (stride or 1) for s in steps)
            size = (SIDE - 1) // (stride or 1) + 1
            if stride and all(0 <= t < size for t in target):
                outputs.add((batch, *target))
                pairs += 1
            pairs += not stride and (batch, *target) in active
    return pairs, outputs


class Sparse(nn.Module):
    """Submanifold, strided and inverse layers, pooling, a flattened map.

    Args:
        package: `spconv.pytorch` or `mmcv.ops`.
    """

    def __init__(self, package):
        super().__init__()
        first, second, third, fourth = WIDTHS
        layer = dict(bias=False)
        self.tensor = package.SparseConvTensor
        self.layers = package.SparseSequential(
            package.SubMConv3d(
                first, second, 3, padding=1, indice_key='a', **layer
            ),
            nn.BatchNorm1d(second),
            nn.ReLU(),
            package.SparseConv3d(
                second, third, 3, 2, padding=1, indice_key='b', **layer
            ),
            nn.BatchNorm1d(third),
            nn.ReLU(),
            package.SparseInverseConv3d(
                third, fourth, 3, indice_key='b', **layer
            ),
            package.SparseMaxPool3d(2, 2),
        )
        self.flat = nn.Conv2d(fourth * (SIDE // 2), 4, 1)

    def forward(self, features, sites):
        x = self.tensor(features, sites, [SIDE] * 3, 2)
        x = self.layers(x).dense()
        batch, channels, depth, height, width = x.shape
        return self.flat(x.view(batch, channels * depth, height, width))


def network(package):
    """In evaluation, its norms not at their first values."""
    torch.manual_seed(0)
    model = Sparse(package).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return model


# Which sites meet -----------------------------------------------------------


def kernel_map(
    sites, batch_size, reach, shape, kernel, stride, padding, *rest
):
    """(outputs, (weight, in or out, pairs), pairs per weight)."""
    is_submanifold = rest[2]
    inputs = {tuple(site): n for n, site in enumerate(sites.tolist())}
    outputs = dict(inputs) if is_submanifold else {}
    offsets = list(product(*map(range, kernel)))
    table = torch.full((len(offsets), 2, len(inputs)), -1, dtype=torch.int32)
    counts = torch.zeros(len(offsets), dtype=torch.int32)
    for weight, offset in enumerate(offsets):
        for (batch, *site), number in inputs.items():
            steps = [s + p - o for s, p, o in zip(site, padding, offset)]
            target = (batch, *(s // t for s, t in zip(steps, stride)))
            if any(s % t for s, t in zip(steps, stride)) or not all(
                0 <= s < size for s, size in zip(target[1:], reach)
            ):
                continue
            if is_submanifold and target not in outputs:
                continue
            row = outputs.setdefault(target, len(outputs))
            table[weight, :, counts[weight]] = torch.tensor([number, row])
            counts[weight] += 1
    return torch.tensor(list(outputs)).int(), table, counts
