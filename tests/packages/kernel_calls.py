"""Calls of compiled kernels that are only described, not run."""

import inspect

import torch

from chex_mm.dispatch.call import Call

from ..trace.cases import Unrun


class Kernel(Unrun):
    """A call of an autograd function: `Kernel(function, arguments, out)`.

    Tensors with labels are its first arguments; the others are taken, by
    name, from `arguments` or else None.
    """

    def __call__(self, flow, tensors):
        _, *names = inspect.signature(self.op.forward).parameters
        arguments = {name: self.arguments.get(name) for name in names}
        arguments.update(zip(names, tensors))
        shapes = self.out if isinstance(self.out[0], tuple) else (self.out,)
        out = tuple(torch.zeros(shape) for shape in shapes)
        out = out if len(out) > 1 else out[0]
        call = Call('', self.op, arguments, tuple(tensors), None, '')
        with flow.paused():
            flow.flow(call, out)
        return out
