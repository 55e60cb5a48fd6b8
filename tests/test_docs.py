"""The documentation: it builds, its commands exist, no message is missing."""

import ast
import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
BLOCKS = [
    (path.name, language, body)
    for path in PAGES
    for language, body in re.findall(
        r'```(\w+)\n(.*?)```', path.read_text(), re.DOTALL
    )
]


def commands():
    """Every line of every shell block, with the page it is on."""
    for page, language, body in BLOCKS:
        if language == 'shell':
            for line in body.replace('\\\n', ' ').splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    yield page, words


COMMANDS = list(commands())
TOOLS = [
    words
    for _, words in COMMANDS
    if words[0] == 'python' and not words[1].startswith('$')
]
TARGETS = [words for _, words in COMMANDS if words[0] == 'make']
KNOWN = {'python', 'make', 'pip', 'bash', 'git', 'source', 'MMDET'}


def test_no_command_is_overlooked():
    first = {words[0].partition('=')[0] for _, words in COMMANDS}
    assert first <= KNOWN
    assert len(TOOLS) > 20


@pytest.mark.parametrize('words', TOOLS, ids=' '.join)
def test_a_tool_takes_what_the_page_gives_it(words, monkeypatch):
    script = ROOT / words[1]
    monkeypatch.setattr(sys, 'argv', words[1:])
    # Wrong arguments end the process.
    tool = runpy.run_path(str(script), run_name='not_main')
    parse = tool.get('parse_arguments')
    if parse is not None:  # benchmarks have none
        assert parse().debug is False


@pytest.mark.parametrize('words', TARGETS, ids=' '.join)
def test_a_target_exists(words):
    targets = re.findall(
        r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE
    )
    assert words[1] in targets


def test_scripts_exist():
    scripts = [words[1] for _, words in COMMANDS if words[0] == 'bash']
    assert scripts
    assert all((ROOT / name).is_file() for name in scripts)


def test_extras_exist():
    extras = re.findall(
        r"^        '(\w+)': \[", (ROOT / 'setup.py').read_text(), re.M
    )
    text = ''.join(path.read_text() for path in PAGES)
    named = set(re.findall(r"pip install (?:-e )?'\.\[(\w+)\]'", text))
    assert {'mmdet3d', 'export'} <= named <= set(extras)


def test_configs_that_pages_name_exist():
    from chex_mm.cli.command_line import load_config

    text = ''.join(path.read_text() for path in PAGES)
    names = set(re.findall(r'\b(?:mmdet|mmdet3d)::[\w/.-]+\.py', text))
    assert len(names) >= 3
    for name in names:
        assert load_config(name).model


def test_python_on_the_pages_is_python():
    found = [(body, page) for page, name, body in BLOCKS if name == 'python']
    assert len(found) > 8
    for body, page in found:
        assert ast.parse(body, page).body


def test_added_scores_budgets_and_policies_work():
    import torch

    import chex_mm
    from chex_mm.budget.budgets import BUDGETS
    from chex_mm.strategies.regrowth import REGROWTHS
    from chex_mm.strategies.scores import SCORES

    names = {}
    for page, _, body in BLOCKS:
        if page == 'scores.md' and 'def ' in body:
            exec(body, names)
    try:
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 8, 1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 2, 1),
        )
        graph = chex_mm.trace_channels(model, (torch.randn(1, 3, 4, 4),))
        explorer = chex_mm.ChannelExplorer(
            model,
            graph,
            chex_mm.Budget('rows', keep=0.6),
            total_steps=3,
            score='weight_norm',
            regrowth='any',
        )
        while not explorer.is_finished:
            explorer.step()
        assert 0.5 < explorer.share() <= 0.6
    finally:
        for table, key in (
            (SCORES, 'weight_norm'),
            (BUDGETS, 'rows'),
            (REGROWTHS, 'any'),
        ):
            table.pop(key, None)


def test_the_hook_by_hand_is_a_config(tmp_path):
    (body,) = [
        body
        for page, _, body in BLOCKS
        if page == 'adopt.md' and 'CHEXHook' in body
    ]
    (tmp_path / 'config.py').write_text(body)
    config = Config.fromfile(tmp_path / 'config.py')
    assert config.custom_hooks[0].budget.keep == 0.5


@pytest.fixture(scope='module')
def messages():
    """docs/messages.py as a module."""
    path = ROOT / 'docs/messages.py'
    spec = importlib.util.spec_from_file_location('docs_messages', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_message_is_on_its_page(messages):
    page = (ROOT / 'docs/troubleshooting.md').read_text()
    text = messages.on_page_markdown(page)
    assert messages.PLACE in page and messages.PLACE not in text
    assert 'there is no checkpoint file ….' in text
    assert 'keep=… is not a share of the dense model; write a number' in text
    assert 'operators carry channels but have no rule; what they' in text
    assert 'does not fit the model: … Is it a checkpoint of' in text
    assert 'has points in cloud … that are not finite' in text
    assert text.count('- `` ') > 140
    assert messages.on_page_markdown('# other') == '# other'


# Warnings, what others say, and messages whose gaps a cure fills in.
NOT_LISTED = {
    "No module named 'rich'",
    'Weights only load failed',
    'explored norm layers start at 0',
    'have weight decay',
    'There is no checkpoint to resume in',
    'sync_bn is left out',
    'There is no slim model yet',
    "fails in its 'loss' path, which CHEX must trace",
    '… cannot be written as onnx',
    'holds no chex_history.pth',
    'holds no slim.pth',
    'holds no slim.pth, so it is not overwritten',
}


def test_every_cure_is_for_a_message_that_there_is(messages):
    page = (ROOT / 'docs/troubleshooting.md').read_text()
    cures = re.findall(r'\*\*(".*?")\*\*', page.replace('\n', ' '))
    quoted = {q for cure in cures for q in re.findall(r'"([^"]+)"', cure)}
    listed = messages.all_messages()
    unknown = {
        quote
        for quote in quoted
        if not re.search(
            '.*'.join(re.escape(part.strip()) for part in quote.split('…')),
            listed,
        )
    }
    assert len(quoted) > 40
    assert unknown == NOT_LISTED


def test_every_file_with_errors_is_in_a_room(messages):
    rooms = [ROOT / folder for folder in messages.ROOMS]
    for path in (ROOT / 'chex_mm').rglob('*.py'):
        if any(messages.messages(path.parent)):
            assert any(room in path.parents for room in rooms) or (
                path.parent == ROOT / 'chex_mm'
            )


def test_every_page_can_be_found():
    """In the navigation, or by a link from another page."""
    text = (ROOT / 'mkdocs.yml').read_text()
    nav = yaml.safe_load(text[text.index('nav:') :])['nav']
    listed = re.findall(r'[\w-]+\.md', str(nav))
    assert len(listed) == len(set(listed)) > 10
    names = {path.name for path in PAGES[1:]}
    assert set(listed) <= names
    linked = {
        name
        for path in PAGES
        for name in re.findall(r'\((?:docs/)?([\w-]+\.md)', path.read_text())
    }
    assert names <= linked | set(listed)


@pytest.mark.slow
def test_it_builds_without_a_warning(tmp_path):
    done = subprocess.run(
        [*(sys.executable, '-m', 'mkdocs', 'build'), '--site-dir', tmp_path],
        cwd=ROOT,
        env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'WARNING' not in done.stderr
    for path in PAGES[1:]:
        assert (tmp_path / f'{path.stem}.html').is_file()
    # A reader's browser asks nobody else.
    page = (tmp_path / 'index.html').read_text()
    assert not re.findall(r'(?:src|href)="https?://[^"]*\.(?:js|css)"', page)
