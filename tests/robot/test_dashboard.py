"""Content of the dashboard, read from its text."""

import io
import threading
import time

import pytest

from rlt_jax.robot import dashboard
from rlt_jax.robot.dashboard import DashboardView

_VIEW = DashboardView(
  phase='practice',
  arm='run',
  driver='actor',
  num_episodes=12,
  success=0.75,
  per_10min=61.4,
  robot_s=185.0,
  budget_s=600.0,
  late_p50_s=0.0002,
  late_p99_s=0.0041,
  overruns=3,
  updates_per_s=412.0,
  version=9,
  age_s=4.2,
  human_s=31.0,
  message='',
  keys=('t      take over', 's      the episode succeeded'),
)


def _drawn(view):
  rich = pytest.importorskip('rich.console')
  console = rich.Console(file=io.StringIO(), width=100)
  console.print(dashboard.render(view))
  return console.file.getvalue()


def test_the_panel_has_what_a_person_needs_and_the_keys_last():
  text = _drawn(_VIEW)
  for part in (
    'practice', 'actor', '03:05 of 10:00', '12 episodes', '75%',
    '61 successes per 10',
    '0.2 ms p50, 4.1 ms p99, 3 overruns', '412 updates/s', 'version 9, 4 s',
  ):  # fmt: skip
    assert part in text
  lines = text.splitlines()
  assert 'the episode succeeded' in lines[-2]


def test_why_the_arm_holds_is_shown_as_it_is():
  assert 'VLA [lost]: gone' in _drawn(
    _VIEW._replace(message='VLA [lost]: gone')
  )


def test_nothing_known_is_a_dash():
  view = _VIEW._replace(
    success=None,
    per_10min=None,
    late_p50_s=None,
    updates_per_s=None,
    age_s=None,
  )
  text = _drawn(view)
  assert '- of the newest episodes' in text and '- updates/s' in text


def test_without_a_terminal_it_prints_a_line_now_and_then():
  stream, now = io.StringIO(), [0.0]
  display = dashboard.Dashboard(
    lambda: _VIEW, stream=stream, line_every_s=10.0, clock=lambda: now[0]
  )
  with display:
    for now[0] in (0.0, 5.0, 10.0):
      display.notify()
  lines = stream.getvalue().splitlines()
  assert len(lines) == 2 and 'success 75%' in lines[0]
  assert 'take over' not in lines[0]


def test_why_the_arm_holds_is_said_every_few_seconds():
  stream, now, message = io.StringIO(), [0.0], ['VLA lost']
  display = dashboard.Dashboard(
    lambda: _VIEW._replace(message=message[0]),
    stream=stream,
    hold_every_s=3.0,
    clock=lambda: now[0],
  )
  for now[0] in (0.0, 2.0, 3.5, 5.0, 7.0):
    display.tell_hold()
  assert stream.getvalue().splitlines() == ['The arm holds: VLA lost'] * 2
  message[0] = ''
  display.tell_hold()
  message[0] = 'VLA lost'
  for now[0] in (8.0, 10.0):  # a short hold is not said
    display.tell_hold()
  assert len(stream.getvalue().splitlines()) == 2


def test_a_hold_is_said_while_the_loop_is_busy(monkeypatch):
  monkeypatch.setattr(dashboard, '_WATCH_S', 0.01)
  stream = io.StringIO()
  view = _VIEW._replace(message='The disk is full')
  with dashboard.Dashboard(lambda: view, stream=stream, hold_every_s=0.02):
    end = time.monotonic() + 20.0
    while not stream.getvalue() and time.monotonic() < end:
      time.sleep(0.01)
  assert 'The arm holds: The disk is full' in stream.getvalue()


def test_what_the_loop_posts_is_printed_by_another_thread(monkeypatch):
  monkeypatch.setattr(dashboard, '_WATCH_S', 1e9)
  threads = []

  class Stream(io.StringIO):
    def write(self, text):
      threads.append(threading.current_thread())
      return super().write(text)

  stream = Stream()
  display = dashboard.Dashboard(lambda: _VIEW, stream=stream)
  with display:
    display.post('a')
    display.post('b')
    assert not threads
  assert stream.getvalue() == 'a\nb\n'  # what is left is said at the end
  monkeypatch.setattr(dashboard, '_WATCH_S', 0.01)
  with display:
    display.post('c')
    end = time.monotonic() + 20.0
    while 'c\n' not in stream.getvalue() and time.monotonic() < end:
      time.sleep(0.01)
    assert threads[-1] is not threading.main_thread()
