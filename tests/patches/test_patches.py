"""The table of changes to other packages says all, and can be applied."""

import ast
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from chex_mm.patches import PATCHES, Patch, apply_patches, table
from chex_mm.registry import is_installed

PACKAGE = Path(__file__).parents[2] / 'chex_mm'


@pytest.mark.parametrize('patch', PATCHES.values(), ids=PATCHES)
def test_a_patch_says_everything(patch):
    assert all(getattr(patch, field.name) for field in fields(Patch))
    if not all(map(is_installed, patch.needs)):
        pytest.skip(f'needs {" and ".join(patch.needs)}')
    module, _, function = patch.function.partition(':')
    assert callable(getattr(import_module(module), function))


def test_a_second_time_changes_nothing():
    import chex_mm.engine  # noqa: F401  (applies them)

    before = targets()
    apply_patches()
    assert all(a is b for a, b in zip(before, targets()))


def targets():
    """What the patches changed, as far as it has a name."""
    names = {
        'mmengine.fileio': ('get_file_backend',),
        'mmdet.models.roi_heads.mask_heads.fcn_mask_head': ('_do_paste_mask',),
        'mmcv.ops': ('furthest_point_sample', 'ball_query'),
    }
    return [
        getattr(import_module(module), name)
        for module, each in names.items()
        if is_installed(module)
        for name in each
    ]


def test_an_unknown_patch():
    with pytest.raises(KeyError, match='no_such_patch'):
        apply_patches('no_such_patch')


def test_the_table_is_printed_and_on_the_page():
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'chex_mm.patches'],
        capture_output=True,
        text=True,
        check=True,
    )
    for name, patch in PATCHES.items():
        assert f'{name}\n  changes {patch.target}\n' in done.stdout
        assert f'| `{name}` | {patch.target} |' in table()
    assert table().count('\n') == len(PATCHES) + 1


def test_nothing_else_replaces_what_others_use():
    """Outside of the two rooms that the table names."""
    found = []
    for path in PACKAGE.rglob('*.py'):
        room = path.relative_to(PACKAGE).parts[0]
        if room in ('patches', 'points'):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Call) else ''
            if text.startswith(('register_backend(', 'sys.modules.')) or (
                'add_safe_globals(' in text
            ):
                found.append((path.name, text))
    assert found == []
