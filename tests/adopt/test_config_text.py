"""Config text reads back as what it was, one reason a key."""

import ast
from textwrap import dedent

import pytest

from chex_mm.adopt.config_text import (
    WIDTH,
    assignment,
    comment,
    docstring,
    formatted,
)

VALUE = dict(
    type='ResNet',
    norm=dict(type='BN', requires_grad=True),
    stages=(1, 2),
    one=(3,),
    nothing=None,
    steps=[dict(by_epoch=False, begin=0, end=500, factor=0.001), 'a' * 50],
    keys={'neck.l2_norm': dict(decay_mult=0), 3: 'x'},
    empty={},
    word={'from': 1},
)


def value_of(code):
    scope = {}
    exec(code, scope)
    return scope['value']


def test_it_reads_back_and_fits():
    code = assignment('value', VALUE, dict(norm='why', end='when'))
    assert value_of(code) == VALUE
    assert max(map(len, code.splitlines())) <= WIDTH


def test_what_fits_is_on_one_line():
    assert assignment('a', dict(b=1, c=[2])) == 'a = dict(b=1, c=[2])'


def test_a_reason_stands_above_the_first_line_of_its_key_only():
    value = dict(one=dict(lr=1), two=dict(lr=2))
    reasons = dict(lr='Slow.')
    assert assignment('value', value, reasons) == dedent("""\
        value = dict(
            one=dict(
                # Slow.
                lr=1),
            two=dict(lr=2))""")
    assert reasons == {}


def test_what_is_inherited_stands_before_what_is_added():
    code = "custom_hooks = [*_base_.custom_hooks, dict(type='A', b='c')]"
    assert formatted(code) == code
    assert formatted(code, dict(b='Why.', d='Not here.')) == dedent("""\
        custom_hooks = [
            *_base_.custom_hooks,
            dict(
                type='A',
                # Why.
                b='c')
        ]""")


def test_comments_are_wrapped_and_their_code_is_not():
    text = comment('word ' * 30 + '\n    code = dict(' + 'x' * 80 + ')')
    lines = text.splitlines()
    assert all(line.startswith('# ') for line in lines)
    assert all(len(line) <= WIDTH for line in lines[:-1])
    assert lines[-1] == '#     code = dict(' + 'x' * 80 + ')'


@pytest.mark.parametrize('words', [3, 60])
def test_a_docstring_is_one(words):
    code = docstring('Title.', 'word ' * words + '\n  inner ' + 'word ' * 30)
    assert ast.get_docstring(ast.parse(code)).startswith('Title.\n\nword')
    assert max(map(len, code.splitlines())) <= WIDTH
