"""Nuclei under the microscope (2018 Data Science Bowl) in COCO format.

`NUCLEI_ROOT=DIR/` in the environment names another place.
"""

data_root = '{{$NUCLEI_ROOT:../shared/data/nuclei/}}'
metainfo = dict(classes=('nucleus',))

# Brings images of 256 to 696 pixels to one width of nuclei, about 20 pixels.
scale = (512, 384)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    # Bitmaps of hundreds of nuclei would take longer than the rest.
    dict(
        type='LoadAnnotations',
        with_bbox=True,
        with_mask=True,
        poly2mask=False,
    ),
    dict(
        type='RandomResize',
        scale=scale,
        ratio_range=(0.8, 1.25),
        keep_ratio=True,
    ),
    # A quarter of an image holds enough nuclei for a step.
    dict(type='RandomCrop', crop_size=(192, 192), recompute_bbox=True),
    # What a border cuts to a line has no logarithm of its width.
    dict(type='FilterAnnotations', min_gt_bbox_wh=(2, 2)),
    # A slide has no up or down.
    dict(
        type='RandomFlip',
        prob=0.75,
        direction=['horizontal', 'vertical', 'diagonal'],
    ),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
        ),
    ),
]
train_dataloader = dict(
    batch_size=8,
    # One process decodes and crops while the other core trains.
    num_workers=1,
    persistent_workers=True,
    # Endless: between two epochs mmengine would sleep for two seconds.
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='train.json',
        data_prefix=dict(img='images/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,  # sizes differ
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='val.json',
        data_prefix=dict(img='images/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

# COCO's mAP counts 100 detections of an image, and 14 images hold more
# nuclei. `classwise` adds `nucleus_precision`, the mAP at `proposal_nums[-1]`
# detections; one evaluator for each task, since that key names none.
val_evaluator = [
    dict(
        type='CocoMetric',
        prefix=task,
        metric=task,
        ann_file=data_root + 'val.json',
        classwise=True,
        proposal_nums=(100, 300, 1000),
    )
    for task in ('bbox', 'segm')
]
test_evaluator = val_evaluator
