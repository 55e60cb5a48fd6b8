"""A real Runner checkpoint loads and resumes without arbitrary pickle."""

import pickle
from glob import glob
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.testing.runner_test_case import RunnerTestCase

from chex_mm.patches.safe_load import allow_mmengine_types

needs_allowing = pytest.mark.skipif(
    torch.__version__ < (2, 6), reason='this torch loads everything'
)


@pytest.fixture(autouse=True)
def _only_our_types():
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    allow_mmengine_types()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


@needs_allowing
class TestRunnerCheckpoint(RunnerTestCase):
    def trained(self, **changes):
        config = self.epoch_based_cfg
        config.merge_from_dict(
            dict(
                optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
                param_scheduler=[dict(type='MultiStepLR', milestones=[1])],
                custom_hooks=[dict(type='EMAHook')],
                default_hooks=dict(
                    checkpoint=dict(
                        type='CheckpointHook',
                        interval=1,
                        save_best='acc',
                        rule='greater',
                    )
                ),
                **changes,
            )
        )
        runner = self.build_runner(config)
        runner.train()
        return runner

    def test_every_saved_file_loads_weights_only(self):
        self.trained()
        paths = sorted(glob(f'{self.temp_dir.name}/*.pth'))
        assert [Path(p).name for p in paths] == [
            'best_acc_epoch_1.pth',
            'epoch_1.pth',
            'epoch_2.pth',
        ]
        for path in paths:
            loaded = torch.load(path, weights_only=True)
            losses = loaded['message_hub']['log_scalars']['train/loss']
            assert isinstance(losses, HistoryBuffer)
            assert losses.data[0].dtype == np.float64
            assert losses.mean() == losses.statistics('mean')

    def test_runner_resumes(self):
        runner = self.trained()
        self.epoch_based_cfg.train_cfg.max_epochs = 3
        resumed = self.trained(
            resume=True, load_from=f'{self.temp_dir.name}/epoch_2.pth'
        )
        assert (resumed.epoch, resumed.iter) == (3, 12)
        assert runner.epoch == 2

    def test_without_it_torch_refuses(self):
        self.trained()
        torch.serialization.clear_safe_globals()
        with pytest.raises(pickle.UnpicklingError, match='HistoryBuffer|geta'):
            torch.load(f'{self.temp_dir.name}/epoch_1.pth', weights_only=True)


@needs_allowing
@pytest.mark.parametrize(
    'value',
    [
        np.arange(3, dtype=np.uint32),
        np.array([True, False]),
        np.float32(0.5),
        np.int64(7),
        ConfigDict(classes=('a', 'b'), nested=dict(palette=[1, 2])),
        HistoryBuffer([1.0, 2.0], [1, 1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_data_survives(value, tmp_path):
    torch.save(value, tmp_path / 'value.pth')
    loaded = torch.load(tmp_path / 'value.pth', weights_only=True)
    assert type(loaded) is type(value)
    if isinstance(value, HistoryBuffer):
        assert loaded.data[0].tolist() == [1.0, 2.0]
    else:
        assert np.all(loaded == value)


class _Reaches:
    """Pickles as a call of `getattr`."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return getattr, self.arguments


@needs_allowing
@pytest.mark.parametrize(
    'owner, name', [(HistoryBuffer, '__init__'), (np.ndarray, 'tofile')]
)
def test_getattr_reaches_nothing_else(owner, name, tmp_path):
    torch.save(_Reaches(owner, name), tmp_path / 'bad.pth')
    with pytest.raises(
        pickle.UnpicklingError,
        match=f"refers to '{name}' of .*only the methods min, max, current, "
        'mean of HistoryBuffer are allowed',
    ):
        torch.load(tmp_path / 'bad.pth', weights_only=True)


@needs_allowing
def test_object_arrays_are_refused(tmp_path):
    torch.save(np.array([{}], dtype=object), tmp_path / 'bad.pth')
    with pytest.raises(pickle.UnpicklingError, match='ObjectDType'):
        torch.load(tmp_path / 'bad.pth', weights_only=True)


@needs_allowing
def test_files_of_the_other_numpy_load(tmp_path):
    allowed = torch._weights_only_unpickler._get_user_allowed_globals()
    for package in ('numpy.core', 'numpy._core'):
        rebuilt = allowed[f'{package}.multiarray._reconstruct']
        assert rebuilt(np.ndarray, (2,), b'd').shape == (2,)


def test_old_torch_is_left_alone():
    torch.serialization.clear_safe_globals()
    with patch.object(
        torch, '__version__', torch.torch_version.TorchVersion('2.5.1')
    ):
        allow_mmengine_types()
    assert torch.serialization.get_safe_globals() == []


@needs_allowing
@pytest.mark.parametrize('strategy', ['cos', 'linear'])
def test_an_annealing_function_is_read_as_itself(strategy, tmp_path):
    method = getattr(OneCycleParamScheduler, f'_annealing_{strategy}')
    torch.save(dict(anneal_func=method), tmp_path / 'state.pth')
    loaded = torch.load(tmp_path / 'state.pth', weights_only=True)
    assert loaded == dict(anneal_func=method)


class _Builds:
    """Pickles as a call of a class that may be named."""

    def __reduce__(self):
        return OneCycleParamScheduler, (None, 'lr')


@needs_allowing
@pytest.mark.parametrize('name', ['load_state_dict', '__init__'])
def test_a_scheduler_can_be_neither_built_nor_reached(name, tmp_path):
    for bad in (_Builds(), _Reaches(OneCycleParamScheduler, name)):
        torch.save(bad, tmp_path / 'bad.pth')
        with pytest.raises(pickle.UnpicklingError, match='OneCycle|Named'):
            torch.load(tmp_path / 'bad.pth', weights_only=True)
