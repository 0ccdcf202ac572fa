import errno
import io
import json
import os
import re
import sys

import numpy as np
import pytest

from rlt_jax.reporting import metrics, statistics


@pytest.fixture(autouse=True)
def _no_tensorboard(monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)


def rows(workdir):
  return [row['env_steps'] for row in metrics.read_metrics(workdir)]


def test_rows_come_back_as_plain_numbers(tmp_path):
  with metrics.MetricsWriter(tmp_path) as writer:
    writer.write(
      {
        'env_steps': 10,
        'q_mean': np.float32(0.5),
        'critic_loss': float('nan'),
        'phase': 'practice',
      }
    )
  assert metrics.read_metrics(tmp_path) == [
    {'env_steps': 10, 'q_mean': 0.5, 'critic_loss': None, 'phase': 'practice'}
  ]


def test_a_resumed_run_continues_from_its_checkpoint(tmp_path):
  with metrics.MetricsWriter(tmp_path) as writer:
    for step in (10, 20, 30):
      writer.write({'env_steps': step})
  with (tmp_path / metrics.METRICS_FILE).open('a') as file:
    file.write('{"env_steps": 4')
  with metrics.MetricsWriter(tmp_path, resume_steps=20) as writer:
    writer.write({'env_steps': 25})
  assert rows(tmp_path) == [10, 20, 25]


def test_rows_without_control_steps_are_cut_by_their_version(tmp_path):
  found = [(10, 2), (10, 3), (10, 4), (20, 5)]
  with metrics.MetricsWriter(tmp_path) as writer:
    writer.write({'env_steps': 5})  # as a version before this one
    for steps, version in found:
      writer.write({'env_steps': steps, 'version': version})
  with metrics.MetricsWriter(tmp_path, resume_steps=10, resume_version=3):
    pass
  kept = metrics.read_metrics(tmp_path)
  assert [x.get('version') for x in kept] == [None, 2, 3]


_LINES = [
  b'{"env_steps": 10}\n',
  b'{"env_steps": 20}\n',
  b'{"env_steps": 30}\n',
]


@pytest.mark.parametrize('bad', [b'\x00\xff\x00', b'{"env', b'5', b'[]', b''])
@pytest.mark.parametrize('number, said', [(1, True), (2, False)])
def test_damage_after_the_checkpoint_is_dropped(
  tmp_path, capsys, bad, number, said
):
  path = tmp_path / metrics.METRICS_FILE
  path.write_bytes(b''.join([*_LINES[:number], bad, b'\n', bad]))
  with metrics.MetricsWriter(tmp_path, resume_steps=20):
    pass
  assert path.read_bytes() == b''.join(_LINES[:number])
  error = capsys.readouterr().err
  note = 'damaged from line 2 on: there are no metrics between .* 10 and 20'
  assert bool(re.search(note, error)) == said


@pytest.mark.parametrize('bad', [b'\x00\xff\x00', b'{"env', b'5'])
def test_damage_among_the_rows_that_stay_is_named(tmp_path, bad):
  path = tmp_path / metrics.METRICS_FILE
  content = b''.join([_LINES[0], bad, b'\n', *_LINES[1:]])
  path.write_bytes(content)
  with pytest.raises(ValueError, match=f'{path}:2 must be an object'):
    metrics.MetricsWriter(tmp_path, resume_steps=20)
  with pytest.raises(ValueError, match=f'{path}:2 must be an object'):
    metrics.read_metrics(tmp_path)
  assert path.read_bytes() == content


def test_rows_can_be_put_on_the_disk(tmp_path, monkeypatch):
  synced = []
  monkeypatch.setattr(metrics.os, 'fsync', synced.append)
  with metrics.MetricsWriter(tmp_path) as writer:
    writer.write({'env_steps': 1})
    writer.sync()
    assert len(synced) == 1 and rows(tmp_path) == [1]


def test_a_full_disk_leaves_no_part_of_a_row(tmp_path, monkeypatch):
  write, room = os.write, iter([5])

  def fill(fd, data):
    if size := next(room, 0):
      return write(fd, data[:size])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  with metrics.MetricsWriter(tmp_path) as writer:
    writer.write({'env_steps': 1})
    with monkeypatch.context() as full:
      full.setattr(metrics.os, 'write', fill)
      with pytest.raises(OSError, match='No space left'):
        writer.write({'env_steps': 2})
    assert (tmp_path / 'metrics.jsonl').read_bytes() == b'{"env_steps": 1}\n'
    writer.write({'env_steps': 2})
  assert rows(tmp_path) == [1, 2]


def test_a_new_run_does_not_mix_with_an_old_one(tmp_path):
  with metrics.MetricsWriter(tmp_path) as writer:
    writer.write({'env_steps': 1})
  with pytest.raises(ValueError, match='folder without .*metrics.jsonl'):
    metrics.MetricsWriter(tmp_path)
  assert rows(tmp_path) == [1]


def test_writer_refuses_what_it_cannot_plot(tmp_path):
  with metrics.MetricsWriter(tmp_path) as writer:
    with pytest.raises(ValueError, match="env_steps: .'q_mean'"):
      writer.write({'q_mean': 1.0})
    with pytest.raises(ValueError, match='q_mean must be a scalar'):
      writer.write({'env_steps': 1, 'q_mean': np.zeros(2)})
  assert rows(tmp_path) == []


def test_reader_names_a_broken_line(tmp_path):
  (tmp_path / metrics.METRICS_FILE).write_text('{"env_steps": 1}\n{"a": 1}\n')
  with pytest.raises(ValueError, match=r'metrics.jsonl:2 must be an object'):
    metrics.read_metrics(tmp_path)


def test_missing_tensorboard_is_said_once(tmp_path, capsys):
  with metrics.MetricsWriter(tmp_path) as writer:
    writer.write({'env_steps': 1})
    writer.write({'env_steps': 2})
  assert capsys.readouterr().err.count('tensorboardX is not installed') == 1


def test_tensorboard_gets_the_numbers_only(tmp_path, monkeypatch):
  calls = []

  class Fake:
    def __init__(self, folder, purge_step, max_queue):
      calls.append(purge_step)

    def add_scalar(self, *args):
      calls.append(args)

    def close(self):
      calls.append('closed')

  module = type(sys)('tensorboardX')
  module.SummaryWriter = Fake
  monkeypatch.setitem(sys.modules, 'tensorboardX', module)
  with metrics.MetricsWriter(tmp_path, resume_steps=4) as writer:
    writer.write({'env_steps': 5, 'q_mean': 0.5, 'phase': 'a', 'on': True})
  assert calls == [5, ('env_steps', 5, 5), ('q_mean', 0.5, 5), 'closed']


class Terminal(io.StringIO):
  def isatty(self):
    return True


def show(line, n=4, **kwargs):
  outcome = np.array([0, 1, 1, 1])[:n]
  episodes = statistics.Episodes(outcome == 1, np.full(n, 100), outcome)
  kwargs = {
    'env_steps': 3050,
    'goal_steps': 45_000,
    'round_s': 0.4,
    'updates_per_s': 812.4,
    'control_hz': 50.0,
  } | kwargs
  line.show(episodes, phase='practice', **kwargs)


def test_live_line_shows_the_last_episodes():
  stream = io.StringIO()
  show(metrics.LiveLine(stream), window=2, beta_ratio=1.234)
  # Two successes in 200 steps of 20 ms are 300 in ten minutes.
  assert stream.getvalue() == (
    'robot 01:01 of 15:00 | practice | success 100% of last 2 | '
    '300 per 10 min | 812 updates/s | beta ratio 1.23\n'
  )


def test_live_line_estimates_the_time_left_from_the_last_rounds():
  stream = io.StringIO()
  line = metrics.LiveLine(stream, interval_s=0.0)
  # 80 steps in 0.4 s, once compiling for a minute; 0.005 s per step.
  for steps, round_s in ((80, 60.0), (160, 0.4), (240, 60.0), (320, 0.4)):
    show(line, env_steps=steps, round_s=round_s)
  show(line, env_steps=44_000, round_s=0.4)
  lefts = [x.partition(' left')[0] for x in stream.getvalue().splitlines()]
  assert 'left' not in lefts[0] and lefts[0].startswith('robot 00:01 of 15:00')
  assert lefts[1].endswith(', 4 min') and lefts[3].endswith(', 4 min')
  assert lefts[4].endswith(' s')


@pytest.mark.parametrize(
  'seconds, text', [(5, '5 s'), (100, '2 min'), (9000, '2.5 h')]
)
def test_live_line_shows_the_larger_unit(seconds, text):
  stream = io.StringIO()
  line = metrics.LiveLine(stream, interval_s=0.0)
  for steps in (0, 1):
    show(line, env_steps=steps, goal_steps=2, round_s=seconds)
  assert f', {text} left |' in stream.getvalue()


def test_live_line_of_an_agent_without_beta_has_no_place_for_it():
  stream = io.StringIO()
  show(metrics.LiveLine(stream))
  assert stream.getvalue().endswith('| 812 updates/s\n')


def test_live_line_before_the_first_episode():
  stream = io.StringIO()
  show(metrics.LiveLine(stream), n=0)
  assert 'success – of last 0 | – per 10 min' in stream.getvalue()


def test_a_dumb_terminal_gets_lines_without_escapes(monkeypatch):
  monkeypatch.setenv('TERM', 'dumb')
  stream = Terminal()
  line = metrics.LiveLine(stream)
  show(line)
  line.close()
  assert stream.getvalue().startswith('robot ')
  assert stream.getvalue().endswith('\n')
  assert '\x1b' not in stream.getvalue() and '\r' not in stream.getvalue()


def test_live_line_overwrites_itself_on_a_terminal_only(monkeypatch):
  monkeypatch.setenv('TERM', 'xterm')
  now = [0.0]
  log, terminal = io.StringIO(), Terminal()
  for stream in (log, terminal):
    line = metrics.LiveLine(stream, clock=lambda: now[0])
    for now[0] in (0.0, 0.05, 1.0, 6.0):
      show(line)
    line.close()
  # At 0 and 6 s in the log, each 0.1 s at most on the terminal.
  assert log.getvalue().count('\n') == 2 and '\r' not in log.getvalue()
  assert terminal.getvalue().count('\r') == 3
  assert terminal.getvalue().count('\n') == 1


def test_metrics_file_is_json_lines(tmp_path):
  with metrics.MetricsWriter(tmp_path) as writer:
    writer.write({'env_steps': 1, 'loss': np.inf})
  text = (tmp_path / metrics.METRICS_FILE).read_text()
  assert json.loads(text) == {'env_steps': 1, 'loss': None}
