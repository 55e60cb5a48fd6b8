"""The import law: which room may know which, read from the source.

What is torch and numpy only stands below, so that a plain PyTorch loop can use
it; no room knows one above it.
"""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'chex_mm'
FOUNDATION = {'torch', 'numpy'} | sys.stdlib_module_names
# Rooms from below to above; those of one line may not know each other. '' is
# what lies beside them: errors, tables, values, files.
FLOORS = (
    ('',),
    ('dispatch', 'graph', 'points'),
    ('surgery', 'budget', 'patches'),
    ('trace', 'submodel'),
    ('strategies',),
    ('packages', 'engine'),
    ('cli',),
    ('deploy',),
    ('adopt', 'report'),
)
ROOMS = [room for floor in FLOORS for room in floor]
IMPURE = {'points', 'patches'}
PURE = [r for r in ROOMS[: ROOMS.index('packages')] if r not in IMPURE]
# A run of the hook ends with its report.
ALLOWED = {('chex_mm.engine.hooks.chex_hook', 'report')}
# Together one room: what is known of a package, and when it is asked.
NEIGHBOURS = {'packages': {'engine', 'patches'}, 'engine': {'packages'}}


def dotted(path: Path) -> str:
    """`chex_mm/trace/__init__.py` -> `chex_mm.trace`."""
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
    """The folder below `chex_mm` that a module lies in, or ''."""
    first = f'{PACKAGE.name}.{(name.split(".") + [""])[1]}'
    is_folder = FILES.get(first, PACKAGE).name == '__init__.py'
    return first.partition('.')[2] if is_folder else ''


def below(name: str) -> set[str]:
    """Rooms that a room may know."""
    number = next(n for n, floor in enumerate(FLOORS) if name in floor)
    lower = {each for floor in FLOORS[:number] for each in floor}
    return lower | {name} | NEIGHBOURS.get(name, set())


def test_every_folder_is_a_room():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert {f for f in folders if f[0] not in '._'} == set(ROOMS) - {''}


@pytest.mark.parametrize('name', [n for n in FILES if n != 'chex_mm'])
def test_no_file_imports_a_higher_room(name):
    ours = {m for m in imports(name) if m.split('.')[0] == 'chex_mm'}
    # The package itself collects the rooms, so it is above most.
    assert 'chex_mm' not in ours or room(name) not in PURE
    known = {room(m) for m in ours - {'chex_mm'}}
    allowed = {other for who, other in ALLOWED if who == name}
    assert known <= below(room(name)) | allowed


@pytest.mark.parametrize('name', [n for n in FILES if room(n) in PURE])
def test_the_lower_rooms_need_torch_only(name):
    others = {m.split('.')[0] for m in imports(name)} - {'chex_mm'}
    assert others <= FOUNDATION


def test_imports_are_relative():
    absolute_ones = [
        name
        for name, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module or '').split('.')[0] == 'chex_mm'
        and not node.level
    ]
    assert absolute_ones == []


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
        > (500 if name.startswith('chex_mm.trace.rules') else 400)
    }
    assert long == {}


def test_a_room_keeps_within_its_lines():
    """Those that CONTRIBUTING.md grants it."""
    page = (ROOT / 'CONTRIBUTING.md').read_text()
    granted = re.findall(r'^\| `([\w/]+)` \| .* \| (\d+) \|$', page, re.M)
    assert {f'chex_mm/{name}' for name in ROOMS if name} | {'tools'} == {
        folder for folder, _ in granted
    }
    for folder, most in granted:
        files = (ROOT / folder).rglob('*.py')
        lines = sum(len(path.read_text().splitlines()) for path in files)
        assert lines <= int(most), folder


def test_the_pure_part_runs_without_openmmlab():
    hide = 'import sys; sys.modules.update(mmengine=None, mmcv=None)\n'
    rooms = ', '.join(f'chex_mm.{room}' for room in PURE if room)
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
