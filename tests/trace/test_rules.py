"""Every rule: labels in, labels, ties and pins out, by a literal."""

from collections import Counter

import pytest
import torch

from chex_mm.trace.labels import spread
from chex_mm.trace.rules import RULES

from .cases import outcome
from .kernel_cases import KERNEL_CASES
from .moving_cases import MOVING_CASES
from .position_cases import POSITION_CASES
from .spectral_cases import SPECTRAL_CASES
from .summing_cases import SUMMING_CASES

CASES = [
    *MOVING_CASES,
    *POSITION_CASES,
    *SUMMING_CASES,
    *KERNEL_CASES,
    *SPECTRAL_CASES,
]
# Of point clouds; their cases are in tests/packages.
ELSEWHERE = {
    f'chex_mm.packages.{name}' for name in ('mmcv.points', 'sparse', 'spconv')
}


def names():
    """A readable and unique name per case."""
    seen = Counter()
    for case in CASES:
        name = getattr(case.key, '__name__', str(case.key))
        seen[name] += 1
        yield f'{name}-{seen[name]}'


@pytest.mark.parametrize('case', CASES, ids=names())
def test_rule(case):
    result = outcome(case.run, *case.inputs)
    assert case.key in result.used
    expected = case.out if isinstance(case.out, list) else [case.out]
    for out, labels, vector in zip(result.outs, result.labels, expected):
        if vector is None and not case.ties:
            assert not labels.any()
        elif vector is not None:
            vector = torch.tensor(vector)
            assert torch.equal(labels, spread(vector, out.shape, case.dim))
    assert result.ties == set(case.ties)
    assert set(result.pins) == set(case.pins)
    assert result.unknown == ()


def test_every_rule_has_a_case():
    here = {k for k, r in RULES.items() if r.__module__ not in ELSEWHERE}
    assert {case.key for case in CASES} == here
