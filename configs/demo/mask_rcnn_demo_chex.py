"""The demo's Mask R-CNN, explored to half of its FLOPs while it trains."""

_base_ = ['./mask_rcnn_demo_dense.py', '../_base_/chex.py']

custom_hooks = [dict(type='CHEXHook', budget=dict(type='flops', keep=0.5))]
