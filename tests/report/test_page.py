"""The page: everything in one file, whatever the text."""

import base64
import re

from chex_mm.report.page import Card, Section, Table, page


def test_pictures_are_inside(tmp_path):
    picture = tmp_path / 'one.png'
    picture.write_bytes(b'not really a picture')
    text = page('Title', 'lead', [], [Section('Seen', 'text', (picture,))])
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert base64.b64decode(data) == picture.read_bytes()
    assert 'href=' not in text and '<script' not in text
    assert 'http' not in text
    assert '<meta name="viewport"' in text


def test_text_is_text():
    wild = '<b> & "quotes"'
    section = Section(wild, wild, table=Table((wild,), [(wild,)]), code=wild)
    text = page(wild, wild, [Card(wild, wild)], [section])
    assert wild not in text
    assert text.count('&lt;b&gt; &amp; &quot;quotes&quot;') == 10


def test_a_table_has_its_rows():
    table = Table(('a', 'b'), [('1', '2'), ('3', '4')])
    text = page('t', 'l', [], [Section('s', 'x', table=table)])
    assert '<th>a</th><th>b</th>' in text
    assert text.count('<tr>') == 3


def test_only_what_is_wide_scrolls(tmp_path):
    picture = tmp_path / 'one.png'
    picture.write_bytes(b'')
    for is_wide in (True, False):
        section = Section('s', 'x', (picture,), is_wide=is_wide)
        text = page('t', 'l', [], [section])
        assert ('<figure class="wide">' in text) is is_wide
