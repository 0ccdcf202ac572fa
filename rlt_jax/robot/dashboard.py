"""What a person beside the arm sees: one panel, or plain lines without rich."""

from collections.abc import Callable, Sequence
import sys
import time
from typing import Any, NamedTuple, TextIO

_REFRESH_HZ = 4.0


class DashboardView(NamedTuple):
  """What the panel shows; None where there is nothing to say yet.

  phase: 'base', 'warm-up', 'practice' or 'evaluation'. drives: who does now.
  attempts: so far in this phase. success: of the newest ones, 0 to 1.
  per_10min: successes in ten minutes of control steps. robot_s: of practice,
  and budget_s. late_p50_s, late_p99_s: after the loop's deadlines. overruns:
  deadlines that were missed. updates_per_s: of the learner. version, age_s:
  of the policy that drives. human_s: of this run. words: why the arm holds.
  keys: a line each, for the bottom.
  """

  phase: str
  drives: str
  attempts: int
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
  words: str
  keys: Sequence[str] = ()


def rows(view: DashboardView) -> list[tuple[str, str]]:
  """Returns names and texts, from the top."""
  return [
    ('phase', view.phase),
    ('drives', view.drives),
    (
      'practised',
      f'{_clock(view.robot_s)} of {_clock(view.budget_s)}, '
      f'{view.attempts} attempts',
    ),
    ('success', _text(view.success, '{:.0%}') + ' of the newest'),
    ('throughput', _text(view.per_10min, '{:.0f}') + ' per 10 min'),
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
    ('person', f'{view.human_s:.0f} s at the arm'),
    ('says', view.words or '-'),
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
    style = 'bold red' if name == 'says' and view.words else ''
    table.add_row(Text(name, 'dim'), Text(text, style))
  keys = Text('\n'.join(view.keys), 'dim')
  body = Table.grid()
  body.add_row(table)
  if view.keys:
    body.add_row(Text(''))
    body.add_row(keys)
  return Panel(body, title='rlt_jax on the arm', width=78)


class Dashboard:
  """Shows views until it is left; a context manager."""

  def __init__(
    self,
    view: Callable[[], DashboardView],
    *,
    stream: TextIO | None = None,
    line_every_s: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Takes what returns the view now; it is called from another thread."""
    self._view, self._stream = view, stream or sys.stdout
    self._every_s, self._clock = line_every_s, clock
    self._last = -float('inf')
    self._live: Any = None

  def __enter__(self) -> 'Dashboard':
    if self._stream.isatty():
      try:
        from rich.live import Live
      except ImportError:
        return self
      # A thread of its own draws: the loop does not wait for a terminal.
      self._live = Live(
        get_renderable=lambda: render(self._view()),
        refresh_per_second=_REFRESH_HZ,
      )
      self._live.start()
    return self

  def __exit__(self, *_) -> None:
    if self._live is not None:
      self._live.stop()

  def tell(self) -> None:
    """Prints a line where there is no panel and the last is long ago."""
    now = self._clock()
    if self._live is None and now - self._last >= self._every_s:
      self._last = now
      print(line(self._view()), file=self._stream, flush=True)


def _clock(seconds: float) -> str:
  return f'{int(seconds) // 60:02d}:{int(seconds) % 60:02d}'


def _ms(seconds: float | None) -> str:
  return '-' if seconds is None else f'{1e3 * seconds:.1f} ms'


def _text(value: float | None, form: str) -> str:
  return '-' if value is None else form.format(value)
