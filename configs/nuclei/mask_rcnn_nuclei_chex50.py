"""The nuclei model, explored to half of its FLOPs while it trains."""

_base_ = ['./mask_rcnn_nuclei_dense.py', '../_base_/chex_short.py']
