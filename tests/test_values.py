"""What a config may say where a value is expected, and how it is written."""

import re
from fractions import Fraction

import numpy as np
import pytest

from chex_mm.budget.budgets import Budget
from chex_mm.strategies.settings import ExplorerSettings
from chex_mm.values import (
    check_count,
    check_patterns,
    is_number,
    is_share,
    is_whole,
    literal,
)

NO_NUMBERS = ['0.5', True, False, None, [1], float('nan'), float('inf'), 1j]


@pytest.mark.parametrize('value', NO_NUMBERS, ids=repr)
def test_what_is_no_number(value):
    assert not is_number(value)
    assert not is_share(value)


@pytest.mark.parametrize('value', [0, 1, 0.5, np.float32(0.5), Fraction(1, 3)])
def test_shares(value):
    assert is_number(value) and is_share(value)
    assert not is_share(value - 1.5)


@pytest.mark.parametrize('value', [1, np.int64(3), -2])
def test_whole_numbers(value):
    assert is_whole(value)


@pytest.mark.parametrize('value', [1.0, 1.5, True, '3', None])
def test_what_is_no_whole_number(value):
    assert not is_whole(value)
    with pytest.raises(ValueError, match='such as 8') as error:
        check_count('divisor', value, example=8)
    assert f'divisor={value!r} must be a whole number' in str(error.value)


@pytest.mark.parametrize('value', ['a', [1], [None], {'a': 1}, 3, [['a']]])
def test_what_is_no_list_of_patterns(value):
    with pytest.raises(ValueError, match='must be a list of patterns'):
        check_patterns('scope', value)


SETTINGS = [
    *(('divisor', value) for value in (1.5, 0, '8', True, None)),
    *(('seed', value) for value in (1.5, '3', None, float('nan'))),
    *(('regrow', value) for value in ('0.3', True, None, -0.1, float('nan'))),
    *(('floor', value) for value in ('0.3', True, 1.5, float('nan'))),
    *(('scope', value) for value in ([3], 5, [None])),
    *(('exclude', value) for value in ([3], 5)),
    *(('score', value) for value in (3, ['scale'], None)),
    *(('execution', value) for value in (True, {})),
]


@pytest.mark.parametrize('name, value', SETTINGS)
def test_settings_that_nobody_means(name, value):
    with pytest.raises(ValueError) as error:
        ExplorerSettings(**{name: value})
    assert repr(value) in str(error.value)


@pytest.mark.parametrize('keep', ['0.5', True, 0, 1.5, float('nan'), None])
def test_budgets_that_nobody_means(keep):
    text = f'keep={keep!r} is not a share of the dense model'
    with pytest.raises(ValueError, match=re.escape(text)):
        Budget('flops', keep)


@pytest.mark.parametrize(
    'code',
    [
        "dict(type='BN', eps=1e-05)",
        "{'neck.norm': dict(decay_mult=0), 3: [None]}",
        "{'from': (3,), 'to': (1, 2)}",
        'dict()',
    ],
)
def test_data_is_written_as_configs_have_it(code):
    assert literal(eval(code)) == code
