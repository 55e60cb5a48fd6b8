"""From checkpoint to directory: verified, complete, or refused."""

import copy
import dataclasses
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner

from chex_mm.deploy import slim_directory
from chex_mm.deploy import slimming as deploy
from chex_mm.deploy.slim_directory import (
    check_target,
    slim_config,
    standalone_config,
    write_directory,
)
from chex_mm.deploy.slimming import slim_checkpoint
from chex_mm.errors import ChexError
from chex_mm.surgery.rounding import moved

from ..engine.toy_runs import ToyNet, build, loader, toy_config

TEST = dict(
    test_dataloader=loader('DefaultSampler', shuffle=False),
    test_cfg=dict(),
    test_evaluator=[dict(type='ToyAccuracy')],
)
AVERAGE = dict(type='EMAHook', momentum=0.1)


def train(folder, **changes):
    """Config and last checkpoint of a finished run."""
    build(folder, **changes).train()
    config = Config(toy_config(folder, **changes, **TEST))
    return config, str(folder / 'iter_24.pth')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp('trained'))


@pytest.fixture(scope='module')
def slimmed(trained):
    return slim_checkpoint(*trained)


@pytest.fixture
def changed(trained, tmp_path):
    """Writes the checkpoint with a change, and slims that."""

    def slim(change):
        loaded = torch.load(trained[1], weights_only=True)
        change(loaded)
        path = str(tmp_path / 'changed.pth')
        torch.save(loaded, path)
        return slim_checkpoint(trained[0], path)

    return slim


def refusal(run, *arguments):
    """What is said instead of running."""
    with pytest.raises(ChexError) as error:
        run(*arguments)
    return str(error.value)


def test_the_narrow_model_is_the_sub_model_of_the_checkpoint(trained, slimmed):
    loaded = torch.load(trained[1], weights_only=True)
    keep = loaded['chex']['explorer']['keep']
    rows, columns = keep['neck.0'], keep['backbone.stem.0']
    weight = loaded['state_dict']['neck.0.weight']
    assert not columns.all()
    assert torch.equal(slimmed.narrow.neck[0].weight, weight[rows][:, columns])
    assert slimmed.channels['neck.0']['in_channels'] == columns.sum()
    assert set(slimmed.differences) == {'tensor', 'predict'}
    assert all(d.max_abs < 1e-5 for d in slimmed.differences.values())


def test_averaged_weights_are_the_ones_that_are_cut(tmp_path):
    config, checkpoint = train(
        tmp_path, custom_hooks=[*toy_config(tmp_path)['custom_hooks'], AVERAGE]
    )
    loaded = torch.load(checkpoint, weights_only=True)
    slimmed = slim_checkpoint(config, checkpoint)
    rows = slimmed.keep['neck.0']
    average = loaded['state_dict']['neck.1.weight'][rows]
    last = loaded['ema_state_dict']['module.neck.1.weight'][rows]
    assert torch.equal(slimmed.narrow.neck[1].weight, average)
    assert not torch.equal(average, last)
    again = slim_config(config, slimmed.channels)
    assert [hook['type'] for hook in again.custom_hooks] == ['EMAHook']


def test_masks_and_wrapper_stay_behind(tmp_path):
    plain = dict(type='ToyBackbone')
    wrapped = dict(type='MaskedBackbone', backbone=plain)
    model = dict(type='ToyNet', backbone=wrapped)
    config, checkpoint = train(tmp_path, model=model)
    saved = torch.load(checkpoint, weights_only=True)['state_dict']
    assert any('chex_mask/' in name for name in saved)
    slimmed = slim_checkpoint(config, checkpoint)
    assert set(slimmed.keep) == {'backbone.stem.0', 'backbone.inner.0'}
    assert list(slimmed.narrow.state_dict()) == list(ToyNet().state_dict())
    architecture = slim_config(config, slimmed.channels).model.architecture
    assert architecture == dict(type='ToyNet', backbone=plain)


def test_the_directory_is_complete(trained, slimmed, tmp_path):
    folder = tmp_path / 'new' / 'slim'
    report = write_directory(folder, trained[0], slimmed)
    assert {path.name for path in folder.iterdir()} == {
        'slim_config.py',
        'slim.pth',
        'report.json',
        'standalone_config.py',
        'slim_model.py',
    }
    assert [path.name for path in folder.parent.iterdir()] == ['slim']
    assert json.loads((folder / 'report.json').read_text()) == report
    size = (folder / 'slim.pth').stat().st_size
    assert report['file_bytes']['slim'] == size < report['file_bytes']['dense']
    flops, params = report['flops'], report['params']
    assert 0.4 < flops['slim'] / flops['dense'] <= 0.5
    assert params['slim'] == sum(
        p.numel() for p in slimmed.narrow.parameters()
    )
    assert params['dense'] == sum(p.numel() for p in ToyNet().parameters())
    assert report['groups']['neck.0'] == {
        'dense': 16,
        'slim': int(slimmed.keep['neck.0'].sum()),
    }
    assert 'chex_mm' not in (folder / 'slim_model.py').read_text().replace(
        'without chex_mm', ''
    )


def test_standardised_kernels_bring_their_code(trained, slimmed, tmp_path):
    channels = {**slimmed.channels, 'neck.1': dict(missing_columns=3)}
    cut = dataclasses.replace(slimmed, channels=channels)
    write_directory(tmp_path / 'slim', trained[0], cut)
    text = (tmp_path / 'slim/slim_kernels.py').read_text()
    assert 'chex_mm' not in text.replace('without chex_mm', '')


def test_the_slim_config_evaluates_like_the_checkpoint(
    trained, slimmed, tmp_path
):
    folder = tmp_path / 'slim'
    write_directory(folder, trained[0], slimmed)
    weights = torch.load(folder / 'slim.pth', weights_only=True)
    assert weights.keys() == {'state_dict', 'meta'}
    assert weights['meta']['dataset_meta']['classes'] == (
        'red',
        'green',
        'blue',
    )
    dense = copy.deepcopy(trained[0])
    dense.load_from = trained[1]
    config = Config.fromfile(folder / 'slim_config.py')
    config.load_from = str(folder / 'slim.pth')
    found = []
    for each in (dense, config):
        each.work_dir = str(tmp_path / 'work')
        each.experiment_name = f'{tmp_path}-{len(found)}'
        found.append(Runner.from_cfg(each).test()['accuracy'])
    assert found[0] == found[1]
    model = MODELS.build(config.model)
    model.load_state_dict(weights['state_dict'], strict=True)
    assert type(model) is ToyNet


def test_configs_say_nothing_of_the_run(trained, slimmed):
    config = copy.deepcopy(trained[0])
    config.custom_hooks.append(AVERAGE)
    config.custom_imports = dict(
        imports=['chex_mm.engine', 'mine'], allow_failed_imports=False
    )
    config.load_from = 'some.pth'
    slim = slim_config(config, slimmed.channels)
    alone = standalone_config(config, slimmed.channels)
    assert slim.custom_imports.imports == ['chex_mm.engine', 'mine']
    assert alone.custom_imports.imports == ['mine', 'slim_model']
    for each in (slim, alone):
        assert each.load_from is None
        assert 'work_dir' not in each
        assert [hook['type'] for hook in each.custom_hooks] == ['EMAHook']
        assert each.custom_imports.allow_failed_imports is False
    assert slim.model.type == 'SlimModel'
    assert slim.model.architecture == dict(type='ToyNet')
    assert 'chex' not in alone.pretty_text.lower()


def test_imports_are_added_where_there_were_none(trained, slimmed):
    config = copy.deepcopy(trained[0])
    assert slim_config(config, {}).custom_imports.imports == ['chex_mm.engine']
    config.custom_imports = dict(imports='mine')
    alone = standalone_config(config, {})
    assert alone.custom_imports.imports == ['mine', 'slim_model']


def test_what_no_file_can_say_is_refused(trained, slimmed, tmp_path):
    config = copy.deepcopy(trained[0])
    config.limit = float('inf')
    folder = tmp_path / 'slim'
    text = "The config cannot be written as a file: name 'inf' is not defined"
    assert text in refusal(write_directory, folder, config, slimmed)
    assert not list(tmp_path.iterdir())


def test_an_existing_directory_is_kept(trained, slimmed, tmp_path):
    folder = tmp_path / 'slim'
    folder.mkdir()
    arguments = folder, trained[0], slimmed
    text = f'{folder} exists; pass --overwrite'
    assert text in refusal(write_directory, *arguments)
    text = f'{folder} holds no slim.pth, so it is not overwritten'
    assert text in refusal(write_directory, *arguments, True)
    (folder / 'slim.pth').touch()
    (folder / 'more').touch()
    write_directory(*arguments, True)
    assert (folder / 'more').is_file()  # such as an exported model
    assert (folder / 'report.json').is_file()
    assert [path.name for path in tmp_path.iterdir()] == ['slim']


def test_a_failure_leaves_the_old_directory(
    trained, slimmed, tmp_path, monkeypatch
):
    folder = tmp_path / 'slim'
    write_directory(folder, trained[0], slimmed)
    before = (folder / 'slim.pth').stat()

    def fail(slimmed):
        raise OSError('the disk is full')

    monkeypatch.setattr(slim_directory, 'slim_report', fail)
    text = f'{folder} cannot be written: the disk is full'
    assert text in refusal(write_directory, folder, trained[0], slimmed, True)
    assert (folder / 'slim.pth').stat() == before
    assert [path.name for path in tmp_path.iterdir()] == ['slim']


def test_the_old_directory_is_back_if_the_new_cannot_take_its_place(
    trained, slimmed, tmp_path, monkeypatch
):
    folder = tmp_path / 'slim'
    write_directory(folder, trained[0], slimmed)
    (folder / 'more').touch()
    before = (folder / 'slim.pth').stat()
    rename = type(folder).rename

    def fail(self, target):
        if self.parent.name.startswith('.slim-') and self.name == 'slim':
            raise OSError('the disk is gone')
        return rename(self, target)

    monkeypatch.setattr(type(folder), 'rename', fail)
    text = f'{folder} cannot be written: the disk is gone'
    assert text in refusal(write_directory, folder, trained[0], slimmed, True)
    assert (folder / 'slim.pth').stat().st_ino == before.st_ino
    assert (folder / 'more').is_file()
    assert [path.name for path in tmp_path.iterdir()] == ['slim']


def test_a_place_that_is_no_directory(tmp_path):
    (tmp_path / 'file').touch()
    text = f'cannot be written: {tmp_path}/file is not a writable directory'
    assert text in refusal(check_target, tmp_path / 'file' / 'slim')


def test_a_checkpoint_without_exploration(changed):
    text = "no exploration state ('chex')"
    assert text in refusal(changed, lambda c: c.pop('chex'))


def test_a_corrupt_checkpoint(trained, tmp_path):
    path = tmp_path / 'cut.pth'
    with open(trained[1], 'rb') as whole:
        path.write_bytes(whole.read(1000))
    text = f'{path} is not a readable checkpoint: '
    assert text in refusal(slim_checkpoint, trained[0], str(path))


@pytest.mark.parametrize(
    'change, text',
    [
        (
            lambda state: state.pop('head.bias'),
            'head.bias is missing in the checkpoint and (3,) in the model',
        ),
        (
            lambda state: state.update({'head.bias': torch.zeros(4)}),
            'head.bias is (4,) in the checkpoint and (3,) in the model',
        ),
        (
            lambda state: state.update({'more': torch.zeros(4)}),
            'more is (4,) in the checkpoint and missing in the model',
        ),
    ],
)
def test_a_checkpoint_of_another_model(change, text, changed):
    text = f'changed.pth is a checkpoint of another model: {text}'
    assert text in refusal(changed, lambda c: change(c['state_dict']))


def test_weights_that_contradict_the_masks(changed):
    def change(checkpoint):
        keep = checkpoint['chex']['explorer']['keep']['backbone.stem.0']
        bias = checkpoint['state_dict']['backbone.stem.1.bias']
        bias[(~keep).nonzero()[0]] = 1e-6

    text = "masks: 'backbone.stem.1.bias' is not zero at inactive channels of"
    assert text in refusal(changed, change)


def test_a_wrong_cut_is_refused(trained, monkeypatch):
    def wrong(*arguments):
        narrow = deploy_slim(*arguments)
        narrow.neck[1].bias.data[0] += 0.01
        return narrow

    deploy_slim = deploy.slim
    monkeypatch.setattr(deploy, 'slim', wrong)
    text = "differs from the masked one in the 'tensor' path by more"
    assert text in refusal(slim_checkpoint, *trained)


@pytest.mark.parametrize(('error', 'is_refused'), [(0, False), (1e-3, True)])
def test_where_numbers_cancel_rounding_is_the_measure(
    error, is_refused, trained, monkeypatch
):
    def rounded(*arguments):
        narrow = moved(deploy_slim(*arguments))
        narrow.neck[1].bias.data[0] += error
        return narrow

    deploy_slim = deploy.slim
    monkeypatch.setattr(deploy, 'slim', rounded)
    # As if the outputs were small beside the numbers they are made of.
    monkeypatch.setattr(deploy, 'MOST_APART', 0)
    monkeypatch.setattr(deploy, 'MOST_APART_AT_DECISIONS', 0)
    if is_refused:
        text = 'by more than rounding explains'
        assert text in refusal(slim_checkpoint, *trained)
    else:
        assert slim_checkpoint(*trained).differences['tensor'].max_rel > 0


def test_data_that_is_not_there(trained):
    key = 'test_dataloader'
    config = copy.deepcopy(trained[0])
    config[key] = None
    text = f'The config has no {key}'
    assert text in refusal(slim_checkpoint, config, trained[1])

    config[key] = loader('DefaultSampler')
    config[key].dataset = Missing()
    text = f'The data of {key} cannot be read: [Errno 2] No such file or '
    assert text in refusal(slim_checkpoint, config, trained[1])


class Missing:
    def __len__(self):
        return 3

    def __getitem__(self, index):
        open('/absent/train.json')
