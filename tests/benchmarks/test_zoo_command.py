"""The walk over a zoo of configs, from the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*words):
    command = [sys.executable, '-m', 'benchmarks.zoo', *map(str, words)]
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.slow
def test_a_second_call_goes_on_where_the_first_stopped(tmp_path):
    out, table = tmp_path / 'found' / 'zoo.jsonl', tmp_path / 'zoo.md'
    words = ['mmdet', '--only', 'ssd/ssd300', 'ssd/ssdl', '--out', out]
    words += ['--size', 320]
    done = run(*words, '--limit', 0.5)
    assert '2 of 2' not in done.stdout, done.stderr
    failed = [json.loads(line) for line in out.read_text().splitlines()]
    assert {each['reason'] for each in failed} == {
        'took more than 0.5 seconds'
    }
    first, second = (each['name'] for each in failed)
    exact = {**failed[0], 'status': 'exact', 'reason': ''}
    out.write_text(json.dumps(exact) + '\n')  # only the second is left
    done = run(*words, '--table', table)
    assert f'1/1 exact        {second}' in done.stdout, done.stderr
    assert '2 of 2 architectures are exact' in done.stdout
    text = table.read_text()
    assert '2 of 2 architectures have been put to the test: 2 exact' in text
    assert f'| `{first}` | exact |' in text
    assert f'| `{second}` | exact |' in text


def test_a_text_that_no_config_contains(tmp_path):
    done = run('mmdet', '--only', 'nothing-like-it', '--out', tmp_path / 'x')
    assert done.returncode == 2
    said = 'no config of mmdet contains nothing-like-it.'
    assert said in done.stderr
    assert not (tmp_path / 'x').exists()
