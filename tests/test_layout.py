"""The import law: which room may know which, read from the source.

channels < surgery < explore < engine; the first three need torch only, so that
a plain PyTorch loop can use them.
"""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'chex_mm'
FOUNDATION = {'torch', 'numpy'} | sys.stdlib_module_names
ABOVE = {
    'channels': {'explore', 'surgery', 'engine'},
    'surgery': {'explore', 'engine'},
    'explore': {'engine'},
    'engine': set(),
}


def dotted(path: Path) -> str:
    """`chex_mm/channels/__init__.py` -> `chex_mm.channels`."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def source_files() -> dict[str, Path]:
    return {dotted(path): path for path in sorted(PACKAGE.rglob('*.py'))}


FILES = source_files()


def absolute(node: ast.ImportFrom, name: str) -> str:
    """The module a `from` statement in module `name` reads from."""
    if not node.level:
        return node.module
    package = name.split('.')
    if FILES[name].name != '__init__.py':
        package.pop()
    package = package[: len(package) - node.level + 1]
    return '.'.join([*package, *filter(None, [node.module])])


class NoAnnotations(ast.NodeTransformer):
    """Leaves out what only a type checker imports."""

    def visit_If(self, node):
        typing = ast.unparse(node.test).endswith('TYPE_CHECKING')
        return None if typing else self.generic_visit(node)


def imports(name: str, typing: bool = True) -> set[str]:
    """Every module that the file of module `name` imports, anywhere in it."""
    found = set()
    tree = ast.parse(FILES[name].read_text())
    for node in ast.walk(tree if typing else NoAnnotations().visit(tree)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, name)
            members = {f'{base}.{alias.name}' for alias in node.names}
            submodules = members & FILES.keys()
            found |= submodules
            if submodules != members:
                found.add(base)
    return found


def room(name: str) -> str:
    return (name.split('.') + [''])[1]


@pytest.mark.parametrize('name', [n for n in FILES if room(n) in ABOVE])
def test_no_file_imports_a_higher_room(name):
    ours = {m for m in imports(name) if m.split('.')[0] == 'chex_mm'}
    assert {room(m) for m in ours}.isdisjoint(ABOVE[room(name)])
    # The package itself collects the rooms, so it is above all but one.
    assert 'chex_mm' not in ours or room(name) == 'engine'


@pytest.mark.parametrize('name', [n for n in FILES if room(n) != 'engine'])
def test_the_lower_rooms_need_torch_only(name):
    others = {m.split('.')[0] for m in imports(name)} - {'chex_mm'}
    assert others <= FOUNDATION
    assert 'chex_mm.engine' not in imports(name)


def test_no_import_cycle():
    graph = {
        name: imports(name, typing=False) & FILES.keys() for name in FILES
    }
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) == set(FILES)


def test_every_file_says_what_it_is_for():
    silent = [
        name
        for name, path in FILES.items()
        if path.read_text()
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_file_is_too_long():
    # A table of rules is looked up, not read, and may be longer.
    long = {
        name: lines
        for name, path in FILES.items()
        if (lines := len(path.read_text().splitlines()))
        > (500 if name.startswith('chex_mm.channels.rules') else 400)
    }
    assert long == {}


def test_the_pure_part_runs_without_openmmlab():
    hide = 'import sys; sys.modules.update(mmengine=None, mmcv=None)\n'
    rooms = ', '.join(f'chex_mm.{room}' for room in ABOVE if room != 'engine')
    done = subprocess.run(
        [sys.executable, '-c', f'{hide}import chex_mm, {rooms}'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.skipif(not find_spec('mmdet'), reason='needs mmdet')
def test_the_2d_part_runs_without_mmdet3d(tmp_path):
    """And what installs it is said where it is needed."""
    code = """
import sys
sys.modules.update(mmdet3d=None, spconv=None, numba=None, open3d=None)
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
    done = subprocess.run(
        [
            *(sys.executable, '-c', code, '-q', '-p', 'no:cacheprovider'),
            *('--basetemp', str(tmp_path)),
            *('-k', 'test_a_detector_is_exact'),  # all are imported
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert '1 passed' in done.stdout
