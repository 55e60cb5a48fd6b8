"""How small detectors train from scratch; each config adds its length."""

_base_ = 'mmdet::_base_/default_runtime.py'

optim_wrapper = dict(
    type='OptimWrapper',
    # Reaches in hundreds of steps what SGD takes thousands for.
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    # Decay would pull the scales that rank the channels towards zero.
    paramwise_cfg=dict(norm_decay_mult=0),
    # Some ten times a usual norm: only what random weights throw up.
    clip_grad=dict(max_norm=10),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

default_hooks = dict(logger=dict(interval=20), checkpoint=dict(by_epoch=False))
log_processor = dict(by_epoch=False, window_size=20)
randomness = dict(seed=0)
