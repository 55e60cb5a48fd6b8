"""Watching operators costs little and misses no tensor."""

import torch

from chex_mm.dispatch.nested import tensors_among
from chex_mm.dispatch.watch import Watch
from chex_mm.surgery.lockstep import Follow, Record
from chex_mm.trace.flow import Flow


class Seen(Watch):
    """Notes the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_every_operator_is_seen():
    with Seen() as seen:
        x = torch.ones(3)
        x.add_(1)
    assert seen.names == ['aten.ones.default', 'aten.add_.Tensor']
    assert x.tolist() == [2, 2, 2]


def test_no_watch_is_wrapped_for_the_compiler():
    """The wrapper would import the compiler, which takes seconds."""
    for watch in (Seen, Flow, Record, Follow):
        assert not hasattr(watch.__torch_dispatch__, '__wrapped__')


def test_tensors_nest_in_lists():
    a, b, c = torch.ones(3)
    assert tensors_among(a, 1, [b, None, (c,)], 'x') == (a, b, c)
    assert tensors_among() == ()
