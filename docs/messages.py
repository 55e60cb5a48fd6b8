"""Puts what the source says into pages: all messages, all patches.

A hook of MkDocs. Messages are read from the source, so that none is missing
and none is out of date.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from chex_mm.patches import table

ROOT = Path(__file__).resolve().parent.parent
# What is called with the text of an error.
ERRORS = (
    *('ValueError', 'ChexError', 'CommandError', 'UnpicklingError'),
    *('UnknownModule', 'FailsUncut', '_wrong', 'error', 'exit'),
)
# Functions that return one.
RETURN_ERRORS = ('_said_of', '_of_a_file', '_misfit', 'unknown_text')
PLACE = '<!-- messages -->'
PATCHES = '<!-- patches -->'
# Folder to what a reader knows it by.
ROOMS = {
    'tools': 'Command lines',
    'chex_mm/cli': 'What all command lines share (`chex_mm.cli`)',
    'chex_mm/adopt': 'Configs of CHEX runs (`chex_mm.adopt`)',
    'chex_mm/engine': 'Training (`chex_mm.engine`)',
    'chex_mm/packages': 'Models of OpenMMLab (`chex_mm.packages`)',
    'chex_mm/patches': 'Changes to other packages (`chex_mm.patches`)',
    'chex_mm/deploy': 'Slimming and export (`chex_mm.deploy`)',
    'chex_mm/report': 'Reports (`chex_mm.report`)',
    'chex_mm/strategies': 'Exploration (`chex_mm.strategies`)',
    'chex_mm/submodel': 'Sub-models (`chex_mm.submodel`)',
    'chex_mm/budget': 'Budgets (`chex_mm.budget`)',
    'chex_mm/trace': 'Finding channels (`chex_mm.trace`)',
    'chex_mm/surgery': 'Cutting and verification (`chex_mm.surgery`)',
    'chex_mm/graph': 'Channel graphs (`chex_mm.graph`)',
    'chex_mm/points': 'Operators on points (`chex_mm.points`)',
    'chex_mm/dispatch': 'Operators of a model (`chex_mm.dispatch`)',
    'chex_mm': 'Values, tables and files (`chex_mm`)',
}


def on_page_markdown(markdown: str, **_) -> str:
    """The page with messages and patches where it asks for them."""
    for place, text in ((PLACE, all_messages), (PATCHES, table)):
        if place in markdown:
            markdown = markdown.replace(place, text())
    return markdown


def all_messages() -> str:
    """A list of messages under a heading for each room."""
    parts = []
    for folder, title in ROOMS.items():
        found = sorted(set(messages(ROOT / folder)), key=str.lower)
        if not found:
            continue
        # Two backticks: some messages have one.
        lines = [f'- `` {text} ``' for text in found]
        parts.append('\n'.join([f'### {title}', '', *lines]))
    return '\n\n'.join(parts)


def messages(folder: Path) -> Iterator[str]:
    """What the errors in the files below a folder say, of the package beside.

    Its own folders have headings of their own.
    """
    is_package = folder == ROOT / 'chex_mm'
    for path in sorted(folder.glob('*.py' if is_package else '**/*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            for said in _said(node):
                text = ' '.join(_text(said).split())
                if text.strip('… :.'):
                    yield text


def _said(node: ast.AST) -> Iterator[ast.expr]:
    """The texts of errors that a node makes."""
    if isinstance(node, ast.Call) and node.args:
        kind = getattr(node.func, 'id', getattr(node.func, 'attr', ''))
        if kind in ERRORS:
            yield node.args[0]
    if isinstance(node, ast.FunctionDef) and node.name in RETURN_ERRORS:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Return) and inner.value is not None:
                yield inner.value


def _text(node: ast.expr) -> str:
    """A message; what is filled in when it is raised is an ellipsis."""
    if isinstance(node, ast.Constant):
        return str(node.value) if node.value is not None else ''
    if isinstance(node, ast.JoinedStr):
        return ''.join(map(_text, node.values))
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.IfExp):
        return _text(node.body)
    if isinstance(node, ast.Call) and node.args:  # '\n'.join([...])
        listed = node.args[0]
        if isinstance(listed, ast.List):
            return ' '.join(map(_text, listed.elts))
    return '…'
