"""Something waits for a module, which is found as if nothing did."""

import sys
from importlib import import_module

import pytest

from chex_mm.importing import when_imported
from chex_mm.registry import is_installed


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Name of a module that nobody has imported."""
    (tmp_path / 'awaited.py').write_text('value = 1\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, 'meta_path', list(sys.meta_path))
    yield 'awaited'
    sys.modules.pop('awaited', None)


def test_everything_that_waits_is_done_once_the_module_has_run(module):
    seen = []
    for factor in (2, 3):
        when_imported(
            module, lambda f=factor: seen.append(sys.modules[module].value * f)
        )
    finders = list(sys.meta_path)
    assert is_installed(module) and seen == []
    assert import_module(module).value == 1
    assert sorted(seen) == [2, 3]
    assert len(sys.meta_path) == len(finders) - 2
    when_imported(module, lambda: seen.append('at once'))
    assert seen[-1] == 'at once'


def test_a_module_that_is_not_there_is_not_there(module):
    when_imported('no_such_module_at_all', lambda: None)
    with pytest.raises(ModuleNotFoundError):
        import_module('no_such_module_at_all')


def test_a_module_that_fails_is_waited_for_again(module, tmp_path):
    seen = []
    when_imported('broken', lambda: seen.append(1))
    (tmp_path / 'broken.py').write_text('raise ValueError("no")\n')
    with pytest.raises(ValueError, match='no'):
        import_module('broken')
    assert seen == []
    (tmp_path / 'broken.py').write_text('value = 12\n')
    import_module('broken')
    assert seen == [1]
    del sys.modules['broken']
