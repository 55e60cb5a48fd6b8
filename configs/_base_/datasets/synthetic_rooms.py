"""The synthetic rooms through the stock `ScanNetDataset`.

Write them first, which takes seconds:
python -c "from chex_mm.engine.datasets.synthetic_rooms import write_rooms;
write_rooms('data/rooms')"
"""

data_root = 'data/rooms/'
metainfo = dict(classes=('cabinet', 'bed', 'chair', 'sofa', 'table'))
points = 3072  # a tenth of ScanNet's: rooms hold one object in five

train_pipeline = [
    dict(
        type='LoadPointsFromFile',
        coord_type='DEPTH',
        shift_height=True,
        load_dim=6,
        use_dim=[0, 1, 2],  # colours do not tell the class
    ),
    dict(
        type='LoadAnnotations3D',
        with_bbox_3d=True,
        with_label_3d=True,
        with_mask_3d=True,
        with_seg_3d=True,
    ),
    dict(type='GlobalAlignment', rotation_axis=2),
    dict(type='PointSegClassMapping'),
    dict(type='PointSample', num_points=points),
    dict(
        type='RandomFlip3D',
        sync_2d=False,
        flip_ratio_bev_horizontal=0.5,
        flip_ratio_bev_vertical=0.5,
    ),
    # No small rotations as for ScanNet: these rooms are square to the axes.
    dict(
        type='Pack3DDetInputs',
        keys=[
            'points',
            'gt_bboxes_3d',
            'gt_labels_3d',
            'pts_semantic_mask',
            'pts_instance_mask',
        ],
    ),
]
test_pipeline = [
    dict(
        type='LoadPointsFromFile',
        coord_type='DEPTH',
        shift_height=True,
        load_dim=6,
        use_dim=[0, 1, 2],
    ),
    dict(type='GlobalAlignment', rotation_axis=2),
    dict(type='PointSample', num_points=points),
    dict(type='Pack3DDetInputs', keys=['points']),
]
train_dataloader = dict(
    batch_size=8,
    # Clouds are tiny; a worker process would only take a core away.
    num_workers=0,
    # Endless: between two epochs mmengine would sleep for two seconds.
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ScanNetDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='scannet_infos_train.pkl',
        filter_empty_gt=False,
        box_type_3d='Depth',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    # mmengine seeds it: all models are tested on the same draw of points.
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ScanNetDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='scannet_infos_val.pkl',
        test_mode=True,
        box_type_3d='Depth',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='IndoorMetric')
test_evaluator = val_evaluator
