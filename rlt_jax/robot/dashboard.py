"""What the operator sees: one panel, or plain lines without rich."""

import collections
from collections.abc import Callable, Sequence
import contextlib
import os
import sys
import threading
import time
from typing import Any, NamedTuple, TextIO

_REFRESH_HZ = 4.0
_WATCH_S = 0.5
_DUMB = ('dumb', 'unknown')  # terminals on which a panel cannot be redrawn


class DashboardView(NamedTuple):
  """What the dashboard shows; None where nothing is known yet.

  phase: 'base', 'warm-up', 'practice' or 'evaluation'. arm: its stop state,
  'run' while it moves. driver: who drives now. num_episodes: so far in this
  phase. success: rate of the newest ones, 0 to 1. per_10min: successes in ten
  minutes of control steps. robot_s: of practice, and budget_s. late_p50_s,
  late_p99_s: after the loop's deadlines. overruns: missed deadlines.
  updates_per_s: of the learner. version, age_s: of the policy that drives.
  human_s: the operator's time in this run. message: why the arm holds. keys:
  help lines, at the bottom.
  """

  phase: str
  arm: str
  driver: str
  num_episodes: int
  success: float | None
  per_10min: float | None
  robot_s: float
  budget_s: float
  late_p50_s: float | None
  late_p99_s: float | None
  overruns: int
  updates_per_s: float | None
  version: int
  age_s: float | None
  human_s: float
  message: str
  keys: Sequence[str] = ()


def rows(view: DashboardView) -> list[tuple[str, str]]:
  """Returns (name, text) pairs, from the top."""
  return [
    ('phase', view.phase),
    ('arm', view.arm),
    ('driver', view.driver),
    (
      'practiced',
      f'{_clock(view.robot_s)} of {_clock(view.budget_s)}, '
      f'{view.num_episodes} episodes in this phase',
    ),
    ('success', _text(view.success, '{:.0%}') + ' of the newest episodes'),
    ('throughput', _text(view.per_10min, '{:.0f}') + ' successes per 10 min'),
    (
      'lateness',
      f'{_ms(view.late_p50_s)} p50, {_ms(view.late_p99_s)} p99, '
      f'{view.overruns} overruns',
    ),
    ('learner', _text(view.updates_per_s, '{:.0f}') + ' updates/s'),
    (
      'policy',
      f'version {view.version}, ' + _text(view.age_s, '{:.0f} s') + ' old',
    ),
    ('operator', f'{view.human_s:.0f} s at the arm'),
    ('message', view.message or '-'),
  ]


def line(view: DashboardView) -> str:
  """Returns it as one line without the keys."""
  return ' | '.join(f'{name} {text}' for name, text in rows(view))


def render(view: DashboardView) -> Any:
  """Returns it as a `rich` panel; needs that package."""
  from rich.panel import Panel
  from rich.table import Table
  from rich.text import Text

  table = Table.grid(padding=(0, 2))
  for name, text in rows(view):
    style = 'bold red' if name == 'message' and view.message else ''
    table.add_row(Text(name, 'dim'), Text(text, style))
  keys = Text('\n'.join(view.keys), 'dim')
  body = Table.grid()
  body.add_row(table)
  if view.keys:
    body.add_row(Text(''))
    body.add_row(keys)
  return Panel(body, title='rlt_jax on the robot', width=78)


class Dashboard:
  """Shows views while it is open; a context manager."""

  def __init__(
    self,
    view: Callable[[], DashboardView],
    *,
    stream: TextIO | None = None,
    line_every_s: float = 10.0,
    hold_every_s: float = 3.0,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Takes a function that returns the view; another thread calls it.

    Args:
      view: returns what is shown.
      stream: to print on; None is stdout.
      line_every_s: between two lines, if there is no panel.
      hold_every_s: between two lines that say why the arm holds.
      clock: s.
    """
    self._view, self._stream = view, stream or sys.stdout
    self._every_s, self._hold_every_s, self._clock = (
      line_every_s, hold_every_s, clock
    )  # fmt: skip
    self._last = -float('inf')
    self._hold_since: float | None = None  # or since the last line about it
    self._live: Any = None
    self._posted: collections.deque[str] = collections.deque()
    self._end = threading.Event()

  def __enter__(self) -> 'Dashboard':
    # In another thread, so that the loop never waits for a terminal.
    dumb = os.environ.get('TERM') in _DUMB
    if self._stream.isatty() and not dumb:
      try:
        from rich.live import Live
      except ImportError:
        pass
      else:
        self._live = Live(
          get_renderable=lambda: render(self._view()),
          refresh_per_second=_REFRESH_HZ,
        )
        self._live.start()
    self._end.clear()
    threading.Thread(target=self._watch, daemon=True).start()
    return self

  def __exit__(self, *_) -> None:
    self._end.set()
    self._say_posted()
    if self._live is not None:
      self._live.stop()

  def say(self, text: str) -> None:
    """Prints a line for the operator."""
    if self._live is not None:
      self._live.console.print(text, markup=False)
    else:
      print(text, file=self._stream, flush=True)

  def post(self, text: str) -> None:
    """Prints a line soon, in another thread: the loop does not wait for it."""
    self._posted.append(text)

  def notify(self) -> None:
    """Prints a line now and then if there is no panel."""
    now = self._clock()
    if self._live is None and now - self._last >= self._every_s:
      self._last = now
      print(line(self._view()), file=self._stream, flush=True)

  def tell_hold(self) -> None:
    """Prints why the arm holds, now and then while it does."""
    message, now = self._view().message, self._clock()
    if not message:
      self._hold_since = None
    elif self._hold_since is None:
      self._hold_since = now
    elif now - self._hold_since >= self._hold_every_s:
      self._hold_since = now
      print(f'The arm holds: {message}', file=self._stream, flush=True)

  def _watch(self) -> None:
    while not self._end.wait(_WATCH_S):
      self._say_posted()
      if self._live is None:
        self.tell_hold()

  def _say_posted(self) -> None:
    while self._posted:
      with contextlib.suppress(IndexError):  # the other thread was faster
        self.say(self._posted.popleft())


def _clock(seconds: float) -> str:
  return f'{int(seconds) // 60:02d}:{int(seconds) % 60:02d}'


def _ms(seconds: float | None) -> str:
  return '-' if seconds is None else f'{1e3 * seconds:.1f} ms'


def _text(value: float | None, form: str) -> str:
  return '-' if value is None else form.format(value)
