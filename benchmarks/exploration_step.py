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
from chex_mm.explore.weights import channel_weights

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


def plain_step(model, graph, plan):
    """Leverage scores and residuals of every group, without shortcuts."""
    tensors = model.state_dict()
    for name, retained in plan.retained.items():
        stacked = torch.cat(
            [
                channel_weights(tensors[piece.tensor], piece).flatten(1)
                for piece in graph.groups[name].producers
            ],
            dim=1,
        )
        matrix = stacked.T.double()  # (fan_in, channels)
        _, _, rows = torch.linalg.svd(matrix, full_matrices=False)
        leverage = rows[: int(retained.sum())].square().sum(0)
        chosen = matrix[:, leverage.topk(int(retained.sum())).indices]
        projected = chosen @ (torch.linalg.pinv(chosen) @ matrix)
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
        'plain: SVD and pinv': timed(plain_step, model, graph, plan),
    }
    print(f'RetinaNet-R50, whole model: {plan}')
    print(f'{"one exploration step":28}{"wall s":>9}{"CPU s":>9}{"ratio":>8}')
    _, ours = rows['chex_mm: plan and apply']
    for name, (wall, work) in rows.items():
        print(f'{name:28}{wall:9.2f}{work:9.2f}{work / ours:8.1f}')


if __name__ == '__main__':
    main()
