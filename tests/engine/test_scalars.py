"""Numbers of a run that was killed while it wrote them down."""

import pytest

from chex_mm.engine.scalars import read_scalars

WHOLE = '{"loss": 1.0, "step": 1}\n{"loss": NaN, "step": 2}\n'


@pytest.mark.parametrize(
    'torn', ['', '{"loss": 1.', '{', '3', 'null', '{"loss": 2}', '\0\0', 'ö']
)
def test_what_is_no_line_is_left_out(tmp_path, torn):
    path = tmp_path / 'scalars.json'
    path.write_bytes((torn + '\n' + WHOLE + torn).encode('latin-1'))
    assert [line['step'] for line in read_scalars(path)] == [1, 2]
