"""PointPillars on KITTI, 3 classes, 50 % of the FLOPs taken away.

mmdet3d's own 80 epochs of 2 repeats, which start from random weights.
"""

_base_ = [
    'mmdet3d::pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py',
    '../../_base_/chex.py',
]

# Decay would pull the scales that rank the channels towards zero.
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0))

# mmdet3d's own sampler reads np.long, which numpy 1.24 to 1.26 lack.
custom_imports = dict(
    imports=['chex_mm.engine', 'chex_mm.engine.datasets.pasting']
)
train_dataloader = _base_.train_dataloader
train_dataloader.dataset.dataset.pipeline[2].db_sampler.type = 'ObjectDatabase'
