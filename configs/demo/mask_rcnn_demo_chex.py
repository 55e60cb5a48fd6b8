"""The demo's Mask R-CNN, explored to half of its FLOPs while it trains."""

_base_ = ['./mask_rcnn_demo_dense.py', '../_base_/chex_short.py']
