"""Seconds of the point operators on the CPU, and of a whole PointNet++.

Beside each kernel its plain definition in torch, measured in the same run and
compared with it: the ratio says what the kernel saves.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import mmdet3d
import torch
from mmcv.ops import (
    ball_query,
    furthest_point_sample,
    gather_points,
    grouping_operation,
    knn,
    three_interpolate,
    three_nn,
)
from mmcv.ops.scatter_points import dynamic_scatter
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.logging import MMLogger
from rich.console import Console
from rich.table import Table

import chex_mm.engine  # noqa: F401

CONFIG = '.mim/configs/_base_/models/votenet.py'
# Glibc gives large tensors back to the system, which clears every page anew.
KEEP_MEMORY = {'MALLOC_MMAP_MAX_': '0', 'MALLOC_TRIM_THRESHOLD_': '-1'}
ROOM = torch.tensor([6, 6, 2.5, 2.5])  # metres, and the height of a point
RADIUS, SAMPLES, CENTRES, NEIGHBOURS = 0.2, 64, 2048, 16


def squares(centres, points):
    """(M, N), summed in the order x, y, z as the kernels do."""
    x, y, z = (centres[:, None] - points).square().unbind(-1)
    return x + y + z


def plain_sampling(points):
    """One pass over all points for each that is chosen."""
    nearest = points.new_full(points.shape[:2], 1e10)
    rows = torch.arange(len(points))
    chosen = [torch.zeros_like(rows)]
    while len(chosen) < CENTRES:
        last = points[rows, chosen[-1]].unsqueeze(1)
        x, y, z = (points - last).square().unbind(-1)
        nearest = torch.minimum(nearest, x + y + z)
        chosen.append(nearest.argmax(1))
    return torch.stack(chosen, 1).int()


def by_cloud(definition, centres, points):
    """A definition from all distances, one cloud after the other."""
    return torch.stack(
        [definition(squares(c, p)) for c, p in zip(centres, points)]
    )


def plain_ball(distances):
    near = distances < torch.tensor(RADIUS).square()
    count = distances.shape[1]
    index = torch.arange(count).where(near, count)
    first = index.topk(SAMPLES, largest=False, sorted=True)[0]
    first = first.where(first < count, first[:, :1])
    return first.where(first < count, 0).int()


def plain_nearest(wanted):
    def definition(distances):
        return distances.topk(wanted, largest=False)[1].int()

    return definition


def plain_take(features, indices):
    places = indices.flatten(1).long()[:, None]
    taken = features.gather(2, places.expand(-1, features.shape[1], -1))
    return taken.unflatten(2, indices.shape[1:])


def plain_mean(features, coordinates):
    rows, owner, counts = coordinates.unique(
        dim=0, return_inverse=True, return_counts=True
    )
    sums = features.new_zeros(len(rows), features.shape[1])
    return sums.index_add_(0, owner, features) / counts[:, None]


def fastest(repeats, function):
    """The least (wall, CPU) seconds of several calls, and the last result.

    CPU seconds, of all threads together, hold on a busy machine too.
    """
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        result = function()
        stop = time.perf_counter(), time.process_time()
        seconds.append([after - before for before, after in zip(start, stop)])
    return [min(column) for column in zip(*seconds)], result


def with_backward(function, features):
    """Forward, and backward by the sum of all outputs; the gradient."""

    def run():
        leaf = features.detach().requires_grad_()
        function(leaf).sum().backward()
        return leaf.grad

    return run


def searches(points):
    """{name: (kernel, definition)} of the operators that yield indices."""
    centres = points[:, :CENTRES].contiguous()
    return {
        'furthest_point_sample': (
            lambda: furthest_point_sample(points, CENTRES),
            lambda: plain_sampling(points),
        ),
        'ball_query': (
            lambda: ball_query(0, RADIUS, SAMPLES, points, centres),
            lambda: by_cloud(plain_ball, centres, points),
        ),
        'knn': (
            lambda: knn(NEIGHBOURS, points, centres).transpose(1, 2),
            lambda: by_cloud(plain_nearest(NEIGHBOURS), centres, points),
        ),
        'three_nn': (
            lambda: three_nn(points, centres)[1],
            lambda: by_cloud(plain_nearest(3), points, centres),
        ),
    }


def movements(points, channels=64):
    """The same of those with gradients: forward and backward."""
    clouds, count = points.shape[:2]
    features = torch.rand(clouds, channels, count)
    few = torch.randint(count, (clouds, CENTRES), dtype=torch.int32)
    groups = torch.randint(
        count, (clouds, CENTRES, SAMPLES), dtype=torch.int32
    )
    near = torch.randint(count, (clouds, count, 3), dtype=torch.int32)
    weight = torch.rand(clouds, count, 3)
    flat = features.transpose(1, 2).reshape(-1, channels)
    voxels = (points.flatten(0, 1) / 0.1).int()

    def mixed(x):
        return (plain_take(x, near) * weight[:, None]).sum(-1)

    return {
        'gather_points': (
            with_backward(lambda x: gather_points(x, few), features),
            with_backward(lambda x: plain_take(x, few), features),
        ),
        'grouping_operation': (
            with_backward(lambda x: grouping_operation(x, groups), features),
            with_backward(lambda x: plain_take(x, groups), features),
        ),
        'three_interpolate': (
            with_backward(
                lambda x: three_interpolate(x, near, weight), features
            ),
            with_backward(mixed, features),
        ),
        'dynamic_scatter (mean)': (
            with_backward(
                lambda x: dynamic_scatter(x, voxels, 'mean')[0], flat
            ),
            with_backward(lambda x: plain_mean(x, voxels), flat),
        ),
    }


def build_backbone():
    """PointNet++ SSG as in VoteNet's config."""
    register_all_modules()
    MMLogger.get_instance('benchmark', log_level='ERROR')
    cfg = Config.fromfile(Path(mmdet3d.__file__).parent / CONFIG)
    return MODELS.build(cfg.model.backbone)


def train_step(model, points):
    """Forward and backward of all that the backbone puts out."""

    def run():
        model.zero_grad()
        out = model(points)
        (
            out['fp_features'][-1].sum() + out['sa_features'][-1].sum()
        ).backward()
        return out

    return run


def step_seconds(arguments):
    """Wall and CPU seconds of a whole backbone, forward and backward."""
    torch.manual_seed(0)
    points = torch.rand(arguments.clouds, arguments.points, 4) * ROOM
    step = train_step(build_backbone(), points)
    return fastest(arguments.repeats, step)[0]


def kept_step_seconds():
    """The same in a process whose allocator keeps its memory."""
    done = subprocess.run(
        [sys.executable, *sys.argv, '--step'],
        env={**os.environ, **KEEP_MEMORY},
        capture_output=True,
        text=True,
        check=True,
    )
    return map(float, done.stdout.splitlines()[-1].split())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--clouds', type=int, default=8)
    parser.add_argument('--points', type=int, default=20000)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--step', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.step:
        print(*step_seconds(arguments))
        return
    torch.manual_seed(0)
    points = torch.rand(arguments.clouds, arguments.points, 3) * ROOM[:3]
    table = Table(
        'operator', 'seconds', 'CPU', 'plain torch', 'CPU', 'CPU ratio'
    )
    for name, pair in {**searches(points), **movements(points)}.items():
        pair[0]()  # compiles
        ours, result = fastest(arguments.repeats, pair[0])
        plain, expected = fastest(1, pair[1])
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
        times = (f'{seconds:.3f}' for seconds in (*ours, *plain))
        table.add_row(name, *times, f'{plain[1] / ours[1]:.1f}')
    table.add_section()
    for name, seconds in (
        ('PointNet++ SSG, forward + backward', step_seconds(arguments)),
        ('the same, memory kept', kept_step_seconds()),
    ):
        table.add_row(name, *(f'{value:.3f}' for value in seconds))
    table.title = (
        f'{arguments.clouds} x {arguments.points} points, '
        f'{arguments.threads} threads'
    )
    Console().print(table)


if __name__ == '__main__':
    main()
