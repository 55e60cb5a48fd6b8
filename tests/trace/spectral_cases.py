"""Cases for Fourier transforms and complex numbers."""

from functools import partial

import torch

from .cases import ALL, PAIRS, Case, Given, Parameter, X, Y

aten = torch.ops.aten

PARTS = Given(shape=(2, 4, 6, 2))
WEIGHT = Parameter((4, 5, 3, 2))

SPECTRAL_CASES = [
    Case(aten._fft_r2c, torch.fft.rfft2),
    Case(aten._fft_c2c, torch.fft.fft2),
    Case(aten._fft_c2r, lambda x: torch.fft.irfft2(torch.complex(x, x))),
    Case(aten.complex, torch.complex, (X, Y), ties=PAIRS),
    Case(aten.polar, torch.polar, (X, Y), ties=PAIRS),
    Case(aten._conj, lambda x: torch.complex(x, x).conj()),
    Case(aten._neg_view, lambda x: torch.complex(x, x).conj().imag),
    Case(aten.view_as_real, lambda x: torch.complex(x, x).real),
    Case(aten.view_as_real, lambda x: torch.view_as_real(x.to(torch.cfloat))),
    Case(aten.view_as_complex, torch.view_as_complex, (PARTS,)),
    Case(
        aten.view_as_complex,
        lambda x, w: x * torch.view_as_complex(w)[:, 0],
        (Given(shape=(4, 3), dim=0), WEIGHT),
        dim=0,
        ties=((1, 200), (2, 201), (3, 202), (4, 203)),
        pins=(250, 251, 252, 253, 254, 1000, 1001, 1002),
    ),
    Case(
        aten.view_as_complex,
        lambda x: torch.view_as_complex(x),
        (Given((1, 2), (2, 4, 6, 2), 3),),
        None,
        pins=(1, 2),
    ),
]
for op, transform in (
    (aten._fft_r2c, torch.fft.rfft),
    (aten._fft_c2c, lambda x, dim: torch.fft.fft(x + 0j, dim=dim)),
    (aten._fft_c2r, lambda x, dim: torch.fft.irfft(x + 0j, dim=dim)),
):
    SPECTRAL_CASES.append(
        Case(op, partial(transform, dim=1), (X,), None, pins=ALL)
    )
