"""Files appear complete or not at all."""

import pytest

from chex_mm import ChexError
from chex_mm.files import check_file, replacing


def test_a_file_gets_its_name_at_the_end(tmp_path):
    path = tmp_path / 'new' / 'a.txt'
    with replacing(path) as unfinished:
        unfinished.write_text('hello')
        (unfinished.parent / 'a.data').write_text('more')
        assert not path.exists()
    assert path.read_text() == 'hello'
    names = sorted(p.name for p in path.parent.iterdir())
    assert names == ['a.data', 'a.txt']


def test_what_a_link_points_to_is_written(tmp_path):
    target, link = tmp_path / 'disk' / 'a.txt', tmp_path / 'a.txt'
    target.parent.mkdir()
    target.write_text('old')
    link.symlink_to(target)
    with replacing(link) as unfinished:
        unfinished.write_text('new')
    assert link.is_symlink()
    assert target.read_text() == 'new'


def test_what_goes_wrong_leaves_the_old_file(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(ZeroDivisionError), replacing(path) as unfinished:
        unfinished.write_text('half')
        raise ZeroDivisionError
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_what_it_refuses(tmp_path):
    def said(path, **options):
        with pytest.raises(ChexError) as error:
            check_file(path, **options)
        return str(error.value)

    file = tmp_path / 'a.txt'
    assert check_file(file) is None
    file.touch()
    assert said(file) == f'{file} exists; pass --overwrite to replace it.'
    assert check_file(file, overwrite=True) is None
    assert said(tmp_path).endswith('is a directory; name a file in it.')
    assert 'is not a writable directory' in said(file / 'b' / 'c.txt')


def test_a_full_disk_is_said_of_the_file(tmp_path):
    path = tmp_path / 'file'
    with pytest.raises(OSError) as error, replacing(path):
        raise OSError(28, 'No space left on device')
    assert error.value.filename == str(path)
    assert str(path) in str(error.value)
