"""Stages of a tool: lines in a file, a bar on a terminal."""

import io

from chex_mm.cli.progress import Stages


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_file_gets_a_line_per_stage():
    stream = io.StringIO()
    with Stages(2, stream) as stages:
        stages.next('read')
        stages.next('write')
    assert stream.getvalue() == '[1/2] read\n[2/2] write\n'


def test_a_terminal_gets_a_bar_that_goes_away():
    stream = Terminal()
    with Stages(3, stream) as stages:
        stages.next('read')
        stages._bar.refresh()
    written = stream.getvalue()
    assert 'read' in written and '0/3' in written
    assert '\n[1/3]' not in written
