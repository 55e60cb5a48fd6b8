"""Channel exploration with the paper's numbers; add it to a config's _base_.

A base that has custom_hooks of its own cannot stand beside this one: write
`custom_imports` and append the hook there (rtmdet/ shows how).
"""

custom_imports = dict(imports=['chex_mm.engine'])

custom_hooks = [
    dict(
        type='CHEXHook',
        # Half the work; configs for less change this number only.
        budget=dict(type='flops', keep=0.5),
        # Every 2nd of the first 180 of 250 epochs on ImageNet. Short runs
        # take fewer steps by themselves: weights need time between two.
        steps=90,
        # The last 28 % of training belong to a structure that is fixed.
        end=0.72,
        # The share of each group that returns at first. It falls to 0 at
        # `end`: early steps search, late ones settle.
        regrow=dict(initial=0.3),
        # Odd widths are not faster than the next multiple of 8.
        divisor=8,
        execution='masked',
    )
]
