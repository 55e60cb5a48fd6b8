custom_hooks = []
custom_imports = dict(
    imports=[
        'chex_mm.engine',
    ]
)
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=1, type='CheckpointHook')
)
default_scope = 'mmengine'
experiment_name = 'old'
load_from = None
log_processor = dict(by_epoch=False)
model = dict(
    architecture=dict(type='ToyNet'),
    channels=dict(
        {
            'backbone.inner.0': dict(
                in_channels=2,
                weight=(
                    4,
                    2,
                    3,
                    3,
                ),
            ),
            'backbone.outer.0': dict(
                out_channels=2,
                weight=(
                    2,
                    4,
                    3,
                    3,
                ),
            ),
            'backbone.outer.1': dict(
                bias=(2,),
                num_features=2,
                running_mean=(2,),
                running_var=(2,),
                weight=(2,),
            ),
            'backbone.stem.0': dict(
                out_channels=2,
                weight=(
                    2,
                    3,
                    3,
                    3,
                ),
            ),
            'backbone.stem.1': dict(
                bias=(2,),
                num_features=2,
                running_mean=(2,),
                running_var=(2,),
                weight=(2,),
            ),
            'head': dict(
                in_features=3,
                weight=(
                    3,
                    3,
                ),
            ),
            'neck.0': dict(
                in_channels=2,
                out_channels=3,
                weight=(
                    3,
                    2,
                    3,
                    3,
                ),
            ),
            'neck.1': dict(
                bias=(3,),
                num_features=3,
                running_mean=(3,),
                running_var=(3,),
                weight=(3,),
            ),
        }
    ),
    type='SlimModel',
)
optim_wrapper = dict(
    optimizer=dict(lr=0.05, momentum=0.9, type='SGD', weight_decay=0.001),
    paramwise_cfg=dict(norm_decay_mult=0),
    type='OptimWrapper',
)
randomness = dict(seed=3)
resume = False
test_cfg = dict()
test_dataloader = dict(
    batch_size=4,
    dataset=dict(type='ToyImages'),
    num_workers=0,
    sampler=dict(shuffle=False, type='DefaultSampler'),
)
test_evaluator = [
    dict(type='ToyAccuracy'),
]
train_cfg = dict(by_epoch=False, max_iters=24, val_interval=10)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(type='ToyImages'),
    num_workers=0,
    sampler=dict(shuffle=True, type='InfiniteSampler'),
)
val_cfg = dict()
val_dataloader = dict(
    batch_size=4,
    dataset=dict(type='ToyImages'),
    num_workers=0,
    sampler=dict(shuffle=False, type='DefaultSampler'),
)
val_evaluator = [
    dict(type='ToyAccuracy'),
]
