"""The page: everything in one file, whatever the text."""

import base64
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from chex_mm.report.writing import page

from .records import made_record

SLIM = Path('work/slim')


def test_pictures_are_inside():
    data = base64.b64encode(b'not really a picture').decode()
    drawn = dict.fromkeys(('active_channels', 'budget'), data)
    text = page(made_record(), drawn, SLIM)
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert found == [data, data]
    assert 'href=' not in text and '<script' not in text
    assert 'http' not in text
    assert '<meta name="viewport"' in text


def test_text_is_text():
    """Directory, groups, parts, metrics, exports, models: all have names."""
    wild = '<b> & "quotes"'
    exported = {
        'format': wild,
        'files': {wild: {'input': [wild], 'max_rel_diff': 1e-6}},
        'latency_ms': {wild: {wild: 1.0}},
    }
    record = made_record(wild, exported=exported)
    record.history['budget'].update(type=wild, of=wild)
    pair = SimpleNamespace(name=wild)
    drawn, times = {'detections': ''}, {1: {'dense': 2.0, 'slim': 1.0}}
    text = page(record, drawn, Path(wild), pair, times)
    unpaired = page(record, drawn, Path(wild))
    for each in (text, unpaired):
        assert not re.search(r'<b> |" ?quotes', each)
        # Title twice, budget twice, card, part, metric, config, and of the
        # export its file, format, input, batch and name.
        assert each.count('&lt;b&gt; &amp; &#34;quotes&#34;') == 14


def test_a_table_has_its_rows():
    text = page(made_record(), {}, SLIM)
    (table,) = re.findall(
        r'<table>(?:(?!<table>).)*last iteration.*?</table>', text, re.DOTALL
    )
    assert '<th>metric</th><th>last</th><th>highest</th>' in table
    assert '<td>conv</td><td>0.75</td><td>0.75</td><td>8</td>' in table
    assert table.count('<tr>') == 2


def test_only_what_is_wide_scrolls():
    for name, wide in (('active_channels', 1), ('fates', 1), ('budget', 0)):
        text = page(made_record(), {name: ''}, SLIM)
        assert text.count('<figure class="wide">') == wide
        assert text.count('<figure') == 1


def test_a_run_without_steps_has_no_fates():
    record = made_record()
    short = replace(record, keep=record.keep[:1])
    assert 'came back' in page(record, {}, SLIM)
    assert 'came back' not in page(short, {}, SLIM)
