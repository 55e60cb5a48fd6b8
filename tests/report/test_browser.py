"""The report in a real browser: on a phone, on a desk and on paper."""

import base64
import re
import shutil
import subprocess

import pytest
from matplotlib.figure import Figure

from chex_mm.report.writing import page

from .records import made_record

BROWSER = next(
    filter(None, map(shutil.which, ('chromium', 'google-chrome'))), None
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason='needs Chromium or Chrome'
)
MEASURE = """<script>
addEventListener('load', () => {
  const root = document.documentElement;
  const tall = [...document.images].filter(image => image.naturalWidth);
  document.title = [root.clientWidth, root.scrollWidth, tall.length];
});
</script>"""


def browse(*arguments):
    done = subprocess.run(
        [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    """A page with everything that is wide."""
    folder = tmp_path_factory.mktemp('report')
    picture = folder / 'wide.png'
    Figure(figsize=(14, 3)).savefig(picture)
    data = base64.b64encode(picture.read_bytes()).decode()
    names = [f'a.long.name.of.layer.{n}' for n in range(9)]
    times = dict.fromkeys(map(str, range(60)), dict.fromkeys(names, 8.5))
    files = {names[0]: {'input': [1, 3], 'max_rel_diff': 1e-6}}
    record = made_record(
        ' '.join(names),
        exported={'format': 'onnx', 'files': files, 'latency_ms': times},
        config='value = ' + '1 + ' * 200,
    )
    drawn = {'active_channels': data, 'budget': data}
    text = page(record, drawn, folder / 'slim')
    file = folder / 'report.html'
    file.write_text(text.replace('</head>', f'{MEASURE}</head>'))
    return file


@pytest.mark.parametrize('width', [500, 1400])
def test_the_page_is_as_wide_as_the_window(report, width):
    """Parts scroll within themselves. Chromium's window has at least 500."""
    found = browse(f'--window-size={width},900', '--dump-dom', report.as_uri())
    title = re.search('<title>(.*?)</title>', found)[1]
    has, needs, pictures = map(int, title.split(','))
    assert needs <= has <= width
    assert pictures == 2


def test_the_page_prints(report, tmp_path):
    file = tmp_path / 'report.pdf'
    browse(f'--print-to-pdf={file}', report.as_uri())
    found = file.read_bytes()
    assert found.startswith(b'%PDF')
    assert len(re.findall(rb'/Type\s*/Page\b', found)) > 1
