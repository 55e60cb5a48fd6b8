"""Cases for kernels of mmcv that a CPU cannot run: their labels only."""

from mmcv.ops.carafe import CARAFEFunction, CARAFENaiveFunction
from mmcv.ops.masked_conv import MaskedConv2dFunction

from .cases import ALL, SLOTS, Case, Given, Input, Parameter, Plain, Unrun, X

UP = (2, 4, 12, 12)


MASKS = Plain(1.0)


def reassembled(key, groups, masks=MASKS, **facts):
    call = Unrun(key, (Input(0), Input(1), 5, groups, 2), (UP,))
    return Case(key, call, (X, masks), **facts)


KERNEL_CASES = [
    *(
        reassembled(key, groups, ties=ties)
        for key in (CARAFEFunction, CARAFENaiveFunction)
        for groups, ties in ((1, ()), (2, SLOTS))
    ),
    reassembled(
        CARAFEFunction,
        1,
        Given((5,) * 25, (2, 25, 12, 12)),
        pins=(5,),
    ),
    Case(
        MaskedConv2dFunction,
        Unrun(
            MaskedConv2dFunction,
            (Input(0), None, Input(1), Input(2), 1),
            ((2, 5, 6, 6),),
        ),
        (X, Parameter((5, 4, 3, 3)), Parameter((5,))),
        (200, 201, 202, 203, 204),
        ties=(
            *((n, 249 + n) for n in ALL),
            *((200 + n, 300 + n) for n in range(5)),
        ),
    ),
]
