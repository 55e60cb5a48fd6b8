"""The list of planted bugs fits the code: `make mutations` can plant them."""

import ast
from pathlib import Path

import pytest

from .mutations.planted import BUGS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize('bug', BUGS, ids=lambda bug: bug.name)
def test_a_bug_can_be_planted(bug):
    text = (ROOT / 'chex_mm' / bug.file).read_text()
    assert text.count(bug.old) == 1
    planted = text.replace(bug.old, bug.new)
    assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(text))


@pytest.mark.parametrize('bug', BUGS, ids=lambda bug: bug.name)
def test_the_test_that_catches_it_exists_and_is_quick(bug):
    path, _, node = bug.test.partition('::')
    tree = ast.parse((ROOT / 'tests' / path).read_text())
    (test,) = (
        each
        for each in tree.body
        if isinstance(each, ast.FunctionDef)
        and each.name == node.partition('[')[0]
    )
    assert not any('slow' in ast.unparse(d) for d in test.decorator_list)


def test_bugs_are_many_and_in_every_room():
    assert len(BUGS) >= 40
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    rooms = {bug.file.partition('/')[0] for bug in BUGS}
    assert rooms >= {'trace', 'surgery', 'submodel', 'strategies', 'engine'}
