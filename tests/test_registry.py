"""Tables: a key has one entry, and whoever asks for another is told."""

import pytest

from chex_mm.budget.budgets import BUDGETS
from chex_mm.registry import Table, is_installed
from chex_mm.strategies.regrowth import REGROWTHS
from chex_mm.strategies.scores import SCORES
from chex_mm.submodel.executions import EXECUTIONS
from chex_mm.surgery import ATTRIBUTES
from chex_mm.trace.rules import RULES, SIZES, ZEROS

TABLES = (
    *(BUDGETS, SCORES, REGROWTHS, EXECUTIONS),
    *(RULES, SIZES, ZEROS, ATTRIBUTES),
)


@pytest.mark.parametrize('table', TABLES, ids=lambda table: table.what)
def test_a_second_entry_names_both(table):
    key, first = next(iter(table.items()))

    def another():
        pass

    with pytest.raises(ValueError) as error:
        table.register(key)(another)
    text = str(error.value)
    assert f'has the {table.what} {first.__module__}.{first.__name__} ' in text
    assert f'{__name__}.another cannot be a second one. ' in text
    assert table[key] is first


def test_nothing_is_entered_if_one_of_the_keys_is_taken():
    table = Table('thing')
    table.register('a')(len)
    with pytest.raises(ValueError, match="'a' has the thing builtins.len"):
        table.register('b', 'a')(max)
    assert table == {'a': len}


def test_an_unknown_key_lists_the_known():
    with pytest.raises(ValueError, match="no score 'x'; write one of 'scale'"):
        SCORES.look_up('x')
    with pytest.raises(ValueError, match=r"no score \['scale'\]; write one"):
        SCORES.look_up(['scale'])


def test_a_module_is_found_without_running_it():
    assert is_installed('torch.nn')
    assert not is_installed('no_such_package.at_all')
