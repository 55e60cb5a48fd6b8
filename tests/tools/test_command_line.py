"""tools/train.py and tools/test.py: what they run and what they refuse."""

import os
import pickle
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.model import is_model_wrapper
from mmengine.registry import MODELS
from mmengine.testing.runner_test_case import RunnerTestCase
from mmengine.utils import ManagerMixin

from chex_mm.cli.command_line import (
    CommandError,
    build_runner,
    find_checkpoint,
    how_to_install,
    load_config,
    run_command,
    use_scope,
)

ROOT = Path(__file__).parents[2]
RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'


def forget_instances(kind=ManagerMixin):
    """Drops what mmengine keeps one of each name of, in every class."""
    kind._instance_dict.clear()
    for each in kind.__subclasses__():
        forget_instances(each)


def command(monkeypatch, script, *arguments):
    """Runs a script of `tools/` in this process, as if it were a new one."""
    forget_instances()
    path = str(ROOT / 'tools' / script)
    monkeypatch.setattr(sys, 'argv', [path, *map(str, arguments)])
    monkeypatch.setenv('LOCAL_RANK', '0')
    runpy.run_path(path, run_name='__main__')


@pytest.fixture
def refused(monkeypatch, capsys):
    """Runs a script that must fail, and gives its last words."""

    def run(script, *arguments):
        with pytest.raises(SystemExit) as stopped:
            command(monkeypatch, script, *arguments)
        said = capsys.readouterr().err
        assert stopped.value.code == 2
        assert said.count('\n') == 1
        return said

    return run


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Toy(RunnerTestCase):
    """mmengine's toy model, which these tests write to a config file."""

    def runTest(self):
        """unittest asks for a test method."""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A config file that trains in no time, in the current directory."""
    monkeypatch.chdir(tmp_path)
    case = Toy()
    case.setUp()
    config = case.epoch_based_cfg
    config.pop('work_dir')
    config.dump(tmp_path / 'toy.py')
    yield tmp_path / 'toy.py'
    case.tearDown()


def test_config_by_path_with_overrides(toy):
    config = load_config(str(toy), {'train_cfg.max_epochs': 7})
    assert config.model.type == 'ToyModel'
    assert config.train_cfg.max_epochs == 7


def test_config_of_an_installed_package_builds_its_model():
    config = load_config(RETINANET, {'model.backbone.init_cfg': None})
    assert config.model.type == 'RetinaNet'
    use_scope(config)
    model = MODELS.build(config.model)
    assert type(model).__module__ == 'mmdet.models.detectors.retinanet'


@pytest.mark.parametrize(
    'name, text',
    [
        ('nothing/here.py', "there is no config file 'nothing/here.py'."),
        (
            'mmdet::retinanet/retinanet_r50_1x_coco.py',
            "mmdet has no config 'retinanet/retinanet_r50_1x_coco.py'. Did "
            'you mean mmdet::retinanet/retinanet_r',
        ),
        ('mmdet::q', "mmdet has no config 'q'."),
        ('mmnone::a/b.py', "package 'mmnone', which is not installed"),
        ('../x::a/b.py', "package '../x', which is not installed"),
    ],
)
def test_wrong_config_name(name, text, refused):
    assert text in refused('train.py', name)
    assert text in refused('test.py', name, 'some.pth')


@pytest.mark.parametrize(
    'content, text',
    [
        ("_base_ = ['absent.py']", 'absent.py'),
        ('model = foo', "NameError: name 'foo' is not defined (--debug"),
        ('model = dict()\ndefault_scope = 5', 'default_scope=5, and there'),
        ("_base_ = ['mmnone::a/b.py']", 'mmnone'),
        ('model = dict(', "cannot be read: '(' was never closed"),
        ('total = 1', 'has no `model`; is it a part that others take'),
        (
            "model = dict()\ndefault_scope = 'mmnone'",
            "default_scope='mmnone', and there is no package of that name. "
            "Install it: pip install 'mmnone'",
        ),
        (
            "model = dict()\ndefault_scope = 'mmdett'",
            "there is no package of that name. Write default_scope = 'mmdet'.",
        ),
        (
            "_base_ = ['mmrotate::a/b.py']",
            'please install mmrotate manually. Install it: pip install',
        ),
    ],
)
def test_wrong_config_content(content, text, tmp_path, refused):
    (tmp_path / 'wrong.py').write_text(content)
    assert text in refused('train.py', tmp_path / 'wrong.py')


def test_known_packages_are_named_with_their_versions():
    text = "Install it: pip install 'mmdet3d>=1.4,<1.5'"
    assert how_to_install('mmdet3d') == text
    assert how_to_install('mmseg').endswith(" 'mmsegmentation>=1.2,<1.3'")


def test_wrong_override(toy, refused):
    said = refused(
        'train.py', toy, '--cfg-options', 'val_evaluator.9.type=ToyMetric'
    )
    assert '--cfg-options: ' in said


@pytest.mark.parametrize(
    'words, text',
    [
        (['model'], "--cfg-options: 'model' is not KEY=VALUE"),
        (['model=(1,2'], '--cfg-options: Imbalanced brackets exist'),
    ],
)
def test_an_override_that_is_none(words, text, toy, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        command(monkeypatch, 'train.py', toy, '--cfg-options', *words)
    assert stopped.value.code == 2
    assert text in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm'])
def test_a_launcher_that_has_not_started_it(
    launcher, toy, refused, monkeypatch
):
    for name in ('RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    said = refused('train.py', toy, '--launcher', launcher)
    assert 'call tools/dist_train.sh' in said


def test_a_work_directory_that_is_a_file(toy, refused):
    assert f'{toy}: File exists.' in refused(
        'train.py', toy, '--work-dir', toy
    )


def test_a_model_that_cannot_be_built(toy, tmp_path, refused):
    wrong = ['--work-dir', tmp_path, '--cfg-options']
    said = refused('train.py', toy, *wrong, 'model.type=Nonsense')
    assert said.startswith('error: Nonsense of the config cannot be built: ')
    optimizer = 'optim_wrapper.optimizer.type=Foo'
    said = refused('train.py', toy, *wrong, optimizer)
    assert said.startswith('error: OptimWrapper of the config cannot be built')


def test_config_that_is_no_config(tmp_path, refused):
    (tmp_path / 'notes.txt').write_text('hello')
    assert 'notes.txt cannot be read' in refused(
        'train.py', tmp_path / 'notes.txt'
    )


def test_missing_checkpoint(toy, refused):
    text = "error: there is no checkpoint file 'gone.pth'.\n"
    assert refused('test.py', toy, 'gone.pth') == text
    assert refused('train.py', toy, '--resume', 'gone.pth') == text
    assert find_checkpoint('https://a/b.pth') == 'https://a/b.pth'


def test_missing_annotation_file(refused, tmp_path):
    said = refused(
        'train.py',
        ROOT / 'configs/demo/mask_rcnn_demo_dense.py',
        *('--work-dir', tmp_path),
        '--cfg-options',
        'train_dataloader.dataset.ann_file=nowhere.json',
    )
    assert 'there is no file' in said and 'nowhere.json' in said
    assert 'see data_root, ann_file' in said


@pytest.mark.filterwarnings('ignore:Unnecessary conv bias before:UserWarning')
@pytest.mark.parametrize('size', [0, 50])
def test_broken_info_file(size, refused, tmp_path):
    pytest.importorskip('mmdet3d', reason='the data set is one of mmdet3d')
    path = tmp_path / 'infos.pkl'
    path.write_bytes(pickle.dumps({'data_list': [1] * 99})[:size])
    said = refused(
        'train.py',
        ROOT / 'configs/demo3d/votenet_demo_dense.py',
        *('--work-dir', tmp_path),
        '--cfg-options',
        f'train_dataloader.dataset.ann_file={path}',
    )
    assert 'a pickled file cannot be read' in said
    assert 'see ann_file in the config, and write it anew' in said


def test_learning_rate_scale_without_batch_size(toy, refused):
    assert 'add auto_scale_lr=dict(base_batch_size=16)' in refused(
        'train.py', toy, '--auto-scale-lr'
    )


def test_predictions_need_a_pickle_name(toy, tmp_path, refused):
    (tmp_path / 'any.pth').touch()
    said = refused('test.py', toy, tmp_path / 'any.pth', '--out', 'a.json')
    assert '--out a.json: the name must end in .pkl.' in said


def test_drawing_needs_the_hook(tmp_path, refused):
    (tmp_path / 'bare.py').write_text('model = dict()')
    (tmp_path / 'any.pth').touch()
    said = refused(
        'test.py', tmp_path / 'bare.py', tmp_path / 'any.pth', '--show'
    )
    assert "visualization=dict(type='DetVisualizationHook')" in said


def test_train_resume_and_test(toy, tmp_path, monkeypatch):
    work = tmp_path / 'work'
    command(monkeypatch, 'train.py', toy, '--work-dir', work)
    first = torch.load(work / 'epoch_2.pth', weights_only=True)
    assert first['meta']['epoch'] == 2

    longer = ['--cfg-options', 'train_cfg.max_epochs=3']
    resumed = [toy, '--work-dir', work, '--resume', *longer]
    command(monkeypatch, 'train.py', *resumed)
    second = torch.load(work / 'epoch_3.pth', weights_only=True)
    assert second['meta']['epoch'] == 3
    losses = second['message_hub']['log_scalars']['train/loss'].data[0]
    # 4 iterations per epoch; the first 8 come out of the checkpoint.
    assert len(losses) == 12

    found = tmp_path / 'predictions.pkl'
    tested = [toy, work / 'epoch_3.pth', '--work-dir', work, '--out', found]
    command(monkeypatch, 'test.py', *tested)
    assert len(pickle.loads(found.read_bytes())) == 12


NO_CHECKPOINTS = {
    'text': lambda path: path.write_text('hello'),
    'nothing': lambda path: path.touch(),
    'a tensor': lambda path: torch.save(torch.ones(2), path),
    'a list': lambda path: torch.save([1], path),
    'None': lambda path: torch.save(None, path),
}


@pytest.mark.parametrize('kind', NO_CHECKPOINTS)
def test_what_is_no_checkpoint_is_refused(toy, tmp_path, refused, kind):
    path = tmp_path / 'file.pth'
    NO_CHECKPOINTS[kind](path)
    for arguments in (
        ('train.py', toy, '--resume', path),
        ('train.py', toy, '--cfg-options', f'load_from={path}'),
        ('test.py', toy, path),
    ):
        said = refused(*arguments)
        assert said.startswith(f'error: {path} is not a ')
        assert 'checkpoint: ' in said


def test_a_strategy_is_refused_before_anything_is_built(toy, refused):
    with toy.open('a') as config:
        config.write("custom_hooks = [dict(type='CHEXHook')]\n")
    strategy = 'runner_type=FlexibleRunner'
    said = refused('train.py', toy, '--cfg-options', strategy)
    assert 'cannot explore a model under FlexibleRunner: a strategy' in said


def test_resuming_without_a_checkpoint_starts_anew(toy, tmp_path, monkeypatch):
    work = tmp_path / 'work'
    command(monkeypatch, 'train.py', toy, '--work-dir', work, '--resume')
    assert (work / 'epoch_2.pth').is_file()


def test_work_dir_is_named_after_the_config(toy, tmp_path, monkeypatch):
    command(monkeypatch, 'train.py', toy)
    saved = tmp_path / 'work_dirs' / 'toy'
    assert (saved / 'epoch_2.pth').is_file()


@pytest.mark.parametrize(
    'change, text',
    [
        (
            lambda state: state.pop('linear2.bias'),
            "lacks 1 tensors of the model, 'linear2.bias' first; is it a "
            'checkpoint of another config?',
        ),
        (
            lambda state: state.update({'linear1.weight': torch.zeros(3, 2)}),
            'does not fit the model: size mismatch for linear1.weight: '
            'copying a param with shape torch.Size([3, 2]) from checkpoint',
        ),
    ],
)
def test_checkpoint_of_another_model(change, text, toy, tmp_path, refused):
    state = MODELS.build(dict(type='ToyModel')).state_dict()
    change(state)
    torch.save(dict(state_dict=state), tmp_path / 'other.pth')
    arguments = [toy, tmp_path / 'other.pth', '--work-dir', tmp_path]
    assert text in refused('test.py', *arguments).splitlines()[-1]


def test_corrupt_checkpoint(toy, tmp_path, refused):
    (tmp_path / 'cut.pth').write_bytes(b'PK' + bytes(50))
    arguments = [toy, tmp_path / 'cut.pth', '--work-dir', tmp_path]
    said = refused('test.py', *arguments)
    assert 'cut.pth is not a readable checkpoint: ' in said


TOY_PARTS = """
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.testing import runner_test_case as toys
MODELS.register_module(module=toys.ToyModel)
DATASETS.register_module(module=toys.ToyDataset)
METRICS.register_module(module=toys.ToyMetric)
"""


@pytest.mark.slow
def test_two_processes_from_the_shell(toy, tmp_path):
    (tmp_path / 'toy_parts.py').write_text(TOY_PARTS)
    with toy.open('a') as config:
        config.write("custom_imports = dict(imports=['toy_parts'])\n")
    environment = {
        **os.environ,
        'PYTHON': sys.executable,
        'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}',
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
        'MASTER_PORT': str(free_port()),
    }
    for words in (
        ['dist_train.sh', toy, '2'],
        ['dist_test.sh', toy, tmp_path / 'epoch_2.pth', '2'],
    ):
        done = subprocess.run(
            [ROOT / 'tools' / words[0], *words[1:], '--work-dir', tmp_path],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert 'acc: 1' in done.stdout + done.stderr
    trained = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)
    # 12 images in batches of 3 on 2 processes, for 2 epochs
    assert trained['meta']['iter'] == 4


@pytest.mark.parametrize(
    'script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh']
)
def test_a_script_without_arguments_says_how_to_call_it(script):
    done = subprocess.run(
        [ROOT / 'tools' / script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f'tools/{script} ' in done.stderr
    assert '[options of' in done.stderr


TOOLS = {path.name for path in (ROOT / 'tools').glob('*.py')}


@pytest.mark.parametrize('script', sorted(TOOLS - {'install.py'}))
def test_every_tool_can_show_the_whole_error(script, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        command(monkeypatch, script, '--help')
    assert stopped.value.code == 0
    assert '--debug ' in capsys.readouterr().out


def test_debug_shows_the_whole_error(toy, monkeypatch):
    with pytest.raises(CommandError, match='there is no checkpoint file'):
        command(monkeypatch, 'test.py', toy, 'gone.pth', '--debug')


def test_a_value_that_this_package_refuses_is_one_line(toy, refused):
    with toy.open('a') as config:
        config.write(
            "custom_imports = dict(imports=['chex_mm.engine'])\n"
            "custom_hooks = [dict(type='CHEXHook', budget=dict("
            "type='flops', keep=2))]\n"
        )
    said = refused('train.py', toy)
    assert said.startswith('error: keep=2 is not a share of the dense model')
    hook = ['custom_hooks.0.budget.keep=0.5', 'custom_hooks.0.step=3']
    said = refused('train.py', toy, '--cfg-options', *hook)
    assert "CHEXHook has no argument 'step'. Did you mean steps=...?" in said


def test_processes_on_a_cpu_have_statistics_of_their_own(
    toy, monkeypatch, capsys
):
    ranks = dict(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1)
    # mmengine warns where nothing says how many threads a process has
    ranks.update(OMP_NUM_THREADS=1, MKL_NUM_THREADS=1)
    ranks.update(MASTER_ADDR='127.0.0.1')
    for name, value in dict(ranks, MASTER_PORT=free_port()).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    config = load_config(str(toy), {'sync_bn': 'torch'})
    config.launcher, config.work_dir = 'pytorch', str(toy.parent)
    try:
        runner = build_runner(config)
        assert is_model_wrapper(runner.model)
        assert runner.cfg.sync_bn is None
    finally:
        torch.distributed.destroy_process_group()
    assert 'sync_bn is left out' in capsys.readouterr().out


def test_a_fault_of_others_is_not_hidden():
    def fail():
        int('seven')

    with pytest.raises(ValueError, match='invalid literal'):
        run_command(fail)
