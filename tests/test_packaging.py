"""What is shipped: wheel, `.mim`, model index, and files that go with them."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from chex_mm import __version__

ROOT = Path(__file__).parents[1]
INDEX = yaml.safe_load((ROOT / 'model-index.yml').read_text())
FILES = [yaml.safe_load((ROOT / n).read_text()) for n in INDEX['Import']]
MODELS = [model for file in FILES for model in file.get('Models', ())]
COLLECTIONS = {
    c['Name'] for file in FILES for c in file.get('Collections', ())
}
CONFIGS = {
    str(path.relative_to(ROOT))
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts
}


def test_every_config_is_in_the_index_once():
    listed = [model['Config'] for model in MODELS]
    assert sorted(listed) == sorted(CONFIGS)
    assert len({model['Name'] for model in MODELS}) == len(MODELS)
    assert {m['In Collection'] for m in MODELS if 'In Collection' in m} == (
        COLLECTIONS
    )


def test_every_metafile_is_imported():
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / 'configs').rglob('metafile.yml')
    }
    assert sorted(INDEX['Import']) == sorted(found)


@pytest.mark.parametrize('model', MODELS, ids=lambda model: model['Name'])
def test_a_model_is_what_its_config_says(model):
    config = Config.fromfile(ROOT / model['Config'])
    told, loop = model['Metadata'], config.train_cfg
    assert told.get('Epochs') == loop.get('max_epochs')
    assert told.get('Iterations') == loop.get('max_iters')
    hooks = config.get('custom_hooks') or []
    hooks = [hook for hook in hooks if hook['type'] == 'CHEXHook']
    assert ('In Collection' in model) == bool(hooks)
    for hook in hooks:
        budget = hook['budget']
        of = '' if 'of' not in budget else ' of the backbone'
        assert told['FLOPs Kept'] == f'{100 * budget["keep"]:.0f} %{of}'


def test_results_are_those_that_were_measured():
    documented = (ROOT / 'docs/results.md').read_text()
    measured = set(re.findall(r'\d\.\d{3}', documented))
    values = [
        f'{value:.3f}'
        for model in MODELS
        for result in model.get('Results', ())
        for value in result['Metrics'].values()
    ]
    assert len(values) > 20
    assert set(values) <= measured


def test_the_citation_knows_the_version():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == __version__
    assert citation['license'] == 'Apache-2.0'
    (paper,) = citation['references']
    assert paper['year'] == 2022 and len(paper['authors']) == 10


def test_the_changelog_knows_the_version():
    text = (ROOT / 'CHANGELOG.md').read_text()
    assert re.search(rf'^## {re.escape(__version__)}$', text, re.MULTILINE)


def test_issue_forms_ask_for_something():
    forms = [*(ROOT / '.github/ISSUE_TEMPLATE').glob('*.yml')]
    for path in forms:
        form = yaml.safe_load(path.read_text())
        if path.stem == 'config':
            continue
        assert {'name', 'description', 'body'} <= form.keys()
        assert any(
            part.get('validations', {}).get('required')
            for part in form['body']
        )
    assert len(forms) >= 3


BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""


def build(what, source, out):
    """Builds a distribution as pip and `build` do, and gives its file."""
    done = subprocess.run(
        [sys.executable, '-c', BUILD, f'build_{what}', str(out)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return out / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """A copy of the repository, because building writes into it."""
    folder = tmp_path_factory.mktemp('build')
    tracked = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in tracked:
        source, target = ROOT / name, folder / 'tree' / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    return folder / 'tree'


@pytest.fixture(scope='module')
def wheel(tree):
    """Built from a source distribution, as `python -m build` does."""
    folder = tree.parent
    archive = build('sdist', tree, folder)
    with tarfile.open(archive) as file:
        file.extractall(folder / 'source', filter='data')
    (source,) = (folder / 'source').iterdir()
    return build('wheel', source, folder)


@pytest.mark.slow
def test_a_wheel_holds_configs_and_tools(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    inside = {n[len('chex_mm/.mim/') :] for n in names if '/.mim/' in n}
    assert CONFIGS <= inside
    assert set(INDEX['Import']) | {'model-index.yml'} <= inside
    tools = {f'tools/{path.name}' for path in (ROOT / 'tools').iterdir()}
    assert {t for t in tools if t.endswith(('.py', '.sh'))} <= inside
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / 'chex_mm').rglob('*.*')
        if path.suffix in ('.py', '.html') and '.mim' not in path.parts
    }
    assert sources <= names
    top = {name.partition('/')[0] for name in names}
    assert top == {'chex_mm', f'chex_mm-{__version__}.dist-info'}
    assert not [name for name in names if '__pycache__' in name]


@pytest.mark.slow
def test_an_installed_package_finds_its_configs_and_runs_its_tools(
    wheel, tmp_path
):
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path)
    environment = {**os.environ, 'PYTHONPATH': str(tmp_path)}

    def run(*words):
        return subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    found = run('-c', 'import chex_mm; print(chex_mm.__file__)')
    assert found.stdout.strip() == str(tmp_path / 'chex_mm/__init__.py')
    done = run(
        tmp_path / 'chex_mm/.mim/tools/train.py',
        'chex_mm::nuclei/mask_rcnn_nuclei_chex.py',
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: chex_mm has no config 'nuclei/mask_rcnn_nuclei_chex.py'. Did "
        'you mean chex_mm::nuclei/mask_rcnn_nuclei_chex50.py?'
    )


@pytest.mark.slow
def test_an_editable_install_links_to_the_tree(tree, tmp_path):
    for _ in range(2):  # what an earlier install left is replaced
        build('editable', tree, tmp_path)
    folder = tree / 'chex_mm/.mim'
    assert {path.name for path in folder.iterdir()} == {
        *('configs', 'tools', 'model-index.yml')
    }
    for path in folder.iterdir():
        assert path.resolve() == tree / path.name
    assert (tree / 'tools/train.py').is_file()
