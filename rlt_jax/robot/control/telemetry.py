"""What the loop says of every tick, and of an episode."""

from collections.abc import Mapping
import math
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.robot.control.histograms import Histogram
from rlt_jax.robot.control.safety_limits import Limit

NOBODY = 'none'  # the source of a tick without a command


class LoopStep(NamedTuple):
  """One turn of the loop; arrays are [A], in joint units, NaN where absent.

  time: s, when it began. late_s: after its deadline. io_s: spent in the arm's
  calls. inference_age_s: between the observation that the command was computed
  from and now; NaN without a command. source: who gave it, or NOBODY.
  wanted: the command before the guard. executed: what the arm returned as
  really sent; NaN when nothing was sent and the arm holds. measured: the pose.
  changed: uint8, bits of `guard.Limit`. verdict: '' when the command was sent,
  else why not, in words.
  """

  time: float
  late_s: float
  io_s: float
  inference_age_s: float
  source: str
  wanted: np.ndarray
  executed: np.ndarray
  measured: np.ndarray
  changed: np.ndarray
  verdict: str


def blank_step(time: float, late_s: float, action_dim: int) -> LoopStep:
  """Returns a tick in which nothing has happened yet."""
  blank = np.full(action_dim, np.nan)
  return LoopStep(
    time=time,
    late_s=late_s,
    io_s=0.0,
    inference_age_s=math.nan,
    source=NOBODY,
    wanted=blank,
    executed=blank,
    measured=blank,
    changed=np.zeros(action_dim, np.uint8),
    verdict='',
  )


class EpisodeRecord:
  """What the loop did in one episode.

  overruns: deadlines that passed while the loop was still busy. jumps: times
  that the clock went back. changed: limit -> int [A], ticks in which the guard
  changed an entry for it.
  """

  def __init__(self, action_dim: int):
    self.ticks = 0
    self.overruns = 0
    self.jumps = 0
    self.not_sent = 0
    self.late, self.io, self.age = Histogram(), Histogram(), Histogram()
    self.sources: dict[str, int] = {}
    self.verdicts: dict[str, int] = {}
    self.changed = {x.name: np.zeros(action_dim, int) for x in Limit}

  def add(self, tick: LoopStep) -> None:
    """Counts one tick."""
    self.ticks += 1
    self.late.add(tick.late_s)
    self.io.add(tick.io_s)
    self.age.add(tick.inference_age_s)
    _count(self.sources, {tick.source: 1})
    for limit in Limit:
      self.changed[limit.name] += (tick.changed & limit) != 0
    if tick.verdict:
      self.not_sent += 1
      # Numbers differ from tick to tick; the rule before them does not.
      _count(self.verdicts, {tick.verdict.split(':')[0]: 1})

  def merge(self, other: 'EpisodeRecord') -> None:
    """Adds another episode, for the record of a run."""
    for name in ('ticks', 'overruns', 'jumps', 'not_sent'):
      setattr(self, name, getattr(self, name) + getattr(other, name))
    for name in ('late', 'io', 'age'):
      getattr(self, name).merge(getattr(other, name))
    _count(self.sources, other.sources)
    _count(self.verdicts, other.verdicts)
    for name, count in other.changed.items():
      self.changed[name] += count

  def to_dict(self) -> dict[str, Any]:
    """Returns it for JSON; a quantile of nothing is None."""
    record = {
      'ticks': self.ticks,
      'overruns': self.overruns,
      'clock_jumps': self.jumps,
      'not_sent': self.not_sent,
    }
    for name, histogram in (
      ('late', self.late),
      ('io', self.io),
      ('inference_age', self.age),
    ):
      record |= {
        f'{name}_p50_s': histogram.quantile(0.5),
        f'{name}_p99_s': histogram.quantile(0.99),
        f'{name}_worst_s': histogram.quantile(1.0),
        f'{name}_histogram': histogram.to_dict(),
      }
    return record | {
      'sources': dict(self.sources),
      'verdicts': dict(self.verdicts),
      'changed': {
        name.lower(): count.tolist() for name, count in self.changed.items()
      },
    }


def _count(total: dict[str, int], more: Mapping[str, int]) -> None:
  for name, number in more.items():
    total[name] = total.get(name, 0) + number
