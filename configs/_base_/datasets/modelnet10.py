"""ModelNet10, 1024 points of each shape in the unit sphere.

`MODELNET_ROOT=DIR/` in the environment names another place; `ShapeDataset`
says what the file there holds.
"""

data_root = '{{$MODELNET_ROOT:../shared/data/modelnet10/}}'
ann_file = 'modelnet10_points1024.npz'
# Half of them tell the ten classes apart, at half of the cost.
points = 512

train_pipeline = [
    # Other points of the same surface every time.
    dict(type='PointSample', num_points=points),
    # All shapes stand upright and face the same way; only size and place are
    # not what tells a class.
    dict(
        type='GlobalRotScaleTrans',
        rot_range=[0, 0],
        scale_ratio_range=[0.8, 1.25],
        translation_std=[0.05, 0.05, 0.05],
    ),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_labels_3d']),
]
test_pipeline = [dict(type='Pack3DDetInputs', keys=['points', 'gt_labels_3d'])]
train_dataloader = dict(
    batch_size=32,
    # A cloud is read in a tenth of a millisecond.
    num_workers=0,
    # Endless: between two epochs mmengine would sleep for two seconds.
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ShapeDataset',
        data_root=data_root,
        ann_file=ann_file,
        split='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ShapeDataset',
        data_root=data_root,
        ann_file=ann_file,
        split='test',
        # The same half every time.
        points=points,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ShapeAccuracy')
test_evaluator = val_evaluator
