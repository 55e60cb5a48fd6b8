"""The demo's VoteNet, explored to half of its FLOPs while it trains."""

_base_ = ['./votenet_demo_dense.py', '../_base_/chex_short.py']
