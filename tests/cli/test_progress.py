"""Stages of a tool: lines in a file, a bar on a terminal, else nothing."""

import io

import pytest

from chex_mm.cli.progress import stage, stages


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_file_gets_a_line_per_stage_that_begins_inside():
    stream = io.StringIO()
    stage('before')
    with pytest.raises(ValueError), stages(2, stream):
        stage('read')
        stage('write')
        raise ValueError
    stage('after')
    assert stream.getvalue() == '[1/2] read\n[2/2] write\n'


def test_a_terminal_gets_a_bar_that_goes_away():
    stream = Terminal()
    with stages(3, stream):
        stage('read')
    written = stream.getvalue()
    assert 'read' in written and '0/3' in written
    assert '[1/3]' not in written
    assert written.endswith('\x1b[2K')  # the line is empty again
