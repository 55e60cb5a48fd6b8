"""torch's SyncBatchNorm on CPUs, for processes that have no GPU.

Its autograd function, what it gathers and what it reduces are torch's own;
here are the five operators that torch has for GPUs only (the formulas of
Ioffe and Szegedy, 2015), and an answer where it asks for a GPU.
"""

from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch.library import Library
from torch.nn import SyncBatchNorm
from torch.nn.parallel import DistributedDataParallel

REFUSAL = '_passing_sync_batchnorm_handle'  # of norms on a CPU


def across(tensor, vector):
    """The vector with the dimensions of the tensor: (1, channels, 1, ...)."""
    return vector.view(1, -1, *[1] * (tensor.dim() - 2))


def others(tensor):
    """Its dimensions except for the channels."""
    return [dim for dim in range(tensor.dim()) if dim != 1]


def stats(x, eps):
    variance, mean = torch.var_mean(x, others(x), correction=0)
    return mean, (variance + eps).rsqrt()


def gather_stats(
    x, means, deviations, running_mean, running_var, momentum, eps, counts
):
    """Of all processes: means and deviations are (processes, channels)."""
    total, counts = counts.sum(), counts[:, None]
    mean = (means * counts).sum(0) / total
    squares = deviations.pow(-2) - eps + (means - mean).square()
    variance = (squares * counts).sum(0) / total
    running_mean.lerp_(mean, momentum)
    running_var.lerp_(variance * total / (total - 1), momentum)
    return mean, (variance + eps).rsqrt()


def normalise(x, weight, bias, mean, deviation, eps):
    scale = weight * deviation
    return (x - across(x, mean)) * across(x, scale) + across(x, bias)


def backward_sums(grad, x, mean, deviation, weight, *needed):
    sums = grad.sum(others(x))
    products = (grad * (x - across(x, mean))).sum(others(x))
    return sums, products, products * deviation, sums.clone()


def backward(grad, x, mean, deviation, weight, sums, products, counts):
    total = counts.sum()
    slope = across(x, products * deviation.square() / total)
    centred = grad - across(x, sums / total) - (x - across(x, mean)) * slope
    return centred * across(x, weight * deviation)


KERNELS = {
    'batch_norm_stats': stats,
    'batch_norm_gather_stats_with_counts': gather_stats,
    'batch_norm_elemt': normalise,
    'batch_norm_backward_reduce': backward_sums,
    'batch_norm_backward_elemt': backward,
}


@contextmanager
def sync_norms_on_cpu():
    """Lets SyncBatchNorm and DDP work together without a GPU."""
    library = Library('aten', 'IMPL')  # its kernels go with it
    for name, kernel in KERNELS.items():
        library.impl(name, kernel, 'CPU')
    forward = SyncBatchNorm.forward

    def on_cpu(self, x):
        # Devices of other vendors pass, by the name that they gave torch.
        with patch('torch._C._get_privateuse1_backend_name', lambda: 'cpu'):
            return forward(self, x)

    with (
        patch.object(SyncBatchNorm, 'forward', on_cpu),
        patch.object(DistributedDataParallel, REFUSAL),
    ):
        yield
