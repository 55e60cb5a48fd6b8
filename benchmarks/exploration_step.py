"""Seconds of one exploration step on RetinaNet-R50, against the plain way.

The plain way computes the same decisions per group from the singular
value decomposition of the stacked weights and a pseudo-inverse.
"""

import argparse
import time
from pathlib import Path

import mmdet
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

import chex_mm
from chex_mm.submodel.weights import channel_weights

CONFIG = '.mim/configs/retinanet/retinanet_r50_fpn_1x_coco.py'


def without_downloads(cfg):
    """Drops every `init_cfg`, and with it what would be downloaded."""
    if isinstance(cfg, dict):
        cfg.pop('init_cfg', None)
        for value in cfg.values():
            without_downloads(value)
    return cfg


def build_retinanet():
    """A randomly initialised RetinaNet-R50 with uneven norm scales."""
    register_all_modules()
    MMLogger.get_instance('benchmark', log_level='ERROR')
    cfg = Config.fromfile(Path(mmdet.__file__).parent / CONFIG)
    model = MODELS.build(without_downloads(cfg.model))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.1, 1)
    return model


def trace(model, size):
    """The channel graph of the detector's raw outputs."""
    was_training = model.training
    inputs = (torch.randn(1, 3, size, size),)
    graph = chex_mm.trace_channels(model.eval(), inputs)
    model.train(was_training)
    return graph


def stacked_weights(tensors, group):
    """The producers' weights as one matrix: (fan_in, channels)."""
    weights = [
        channel_weights(tensors[piece.tensor], piece).flatten(1)
        for piece in group.producers
    ]
    return torch.cat(weights, dim=1).T.double()


def plain_step(model, graph, plan, is_lean):
    """Leverage scores and residuals of every group, by the definitions.

    The lean variant leaves out what no result depends on: the full left
    basis of the SVD, and the projector as a matrix.
    """
    tensors = model.state_dict()
    for name, retained in plan.retained.items():
        matrix = stacked_weights(tensors, graph.groups[name])
        _, _, rows = torch.linalg.svd(matrix, full_matrices=not is_lean)
        leverage = rows[: int(retained.sum())].square().sum(0)
        chosen = matrix[:, leverage.topk(int(retained.sum())).indices]
        inverse = torch.linalg.pinv(chosen)
        if is_lean:
            projected = chosen @ (inverse @ matrix)
        else:
            projected = (chosen @ inverse) @ matrix
        (matrix - projected).square().sum(0)


def timed(function, *arguments):
    """Wall seconds and processor seconds of a call."""
    wall, work = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - wall, time.process_time() - work


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, default=320)
    parser.add_argument('--threads', type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = build_retinanet()
    graph = trace(model, arguments.size)
    explorer = chex_mm.ChannelExplorer(
        model, graph, chex_mm.Budget('flops', keep=0.5), 10, divisor=8
    )
    explorer.step()  # from the initial to an explored sub-model
    plan = explorer.plan()
    rows = {
        'chex_mm: plan and apply': timed(explorer.step),
        'plain: full SVD and projector': timed(
            plain_step, model, graph, plan, False
        ),
        'plain, lean': timed(plain_step, model, graph, plan, True),
    }
    print(f'RetinaNet-R50, whole model: {plan}')
    print(f'{"one exploration step":32}{"wall s":>9}{"CPU s":>9}{"ratio":>8}')
    _, ours = rows['chex_mm: plan and apply']
    for name, (wall, work) in rows.items():
        print(f'{name:32}{wall:9.2f}{work:9.2f}{work / ours:8.1f}')


if __name__ == '__main__':
    main()
