"""A picture may name anything, also what looks like a formula."""

import pytest
from matplotlib.figure import Figure

from chex_mm.report.legible import legible


@pytest.mark.parametrize('name', ['$\\frac{$', '$x$', 'a$b', '$', '$$', 'a_b'])
def test_a_name_is_drawn_as_it_is(name, tmp_path):
    figure = Figure()
    axes = figure.subplots()
    axes.set_yticks([0], [legible(name)])
    axes.plot([0, 1], label=legible(f'x{name}'))
    figure.legend()
    figure.savefig(tmp_path / 'drawn.png')
    text, is_formula = axes.get_yticklabels()[0]._preprocess_math(
        legible(name)
    )
    assert (text.replace(r'\$', '$'), is_formula) == (name, False)
