"""Lines of a training on a terminal and in a log file."""

import io

from rlt_jax.reporting.progress import ProgressLine


class Stream(io.StringIO):
  def __init__(self, terminal):
    super().__init__()
    self._terminal = terminal

  def isatty(self):
    return self._terminal


def lines_of(terminal, times):
  stream = Stream(terminal)
  line = ProgressLine(stream, clock=iter(times).__next__)
  line.say('begins')
  for number, _ in enumerate(times):
    line.show(f'step {number}')
  line.say('ends')
  return stream.getvalue()


def test_a_terminal_has_one_line_and_a_log_file_one_every_30_s(monkeypatch):
  monkeypatch.setenv('TERM', 'xterm')
  assert lines_of(True, [0.0, 0.05, 0.2]) == (
    'begins\n\rstep 0\x1b[K\rstep 2\x1b[K\nends\n'
  )
  assert lines_of(False, [0, 29, 31]) == 'begins\nstep 0\nstep 2\nends\n'
  monkeypatch.setenv('TERM', 'dumb')
  assert lines_of(True, [0, 29, 31]) == 'begins\nstep 0\nstep 2\nends\n'
