"""Telemetry of the control loop, per control step and per episode."""

from collections.abc import Mapping
import math
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.robot.control.commands import CommandSource
from rlt_jax.robot.control.histograms import Histogram
from rlt_jax.robot.control.safety_limits import Limit

# Attribute of a record -> its name in the file.
_HISTOGRAMS = {'late': 'late', 'io': 'io', 'age': 'inference_age'}


class LoopStep(NamedTuple):
  """One control step; arrays are [A], in joint units, NaN where absent.

  time: s, when it began. late_s: after its deadline. io_s: spent in calls to
  the arm. inference_age_s: from the observation that the command was computed
  from until now; NaN without a command. source: who gave the command. wanted:
  the command before the safety limits. executed: what the arm returned as
  sent; NaN when nothing was sent and the arm holds. measured: the pose.
  changed: uint8, bits of `safety_limits.Limit`. verdict: '' when the command
  was sent, else the reason why not.
  """

  time: float
  late_s: float
  io_s: float
  inference_age_s: float
  source: CommandSource
  wanted: np.ndarray
  executed: np.ndarray
  measured: np.ndarray
  changed: np.ndarray
  verdict: str


def blank_step(time: float, late_s: float, action_dim: int) -> LoopStep:
  """Returns a step without reading and command."""
  blank = np.full(action_dim, np.nan)
  return LoopStep(
    time=time,
    late_s=late_s,
    io_s=0.0,
    inference_age_s=math.nan,
    source=CommandSource.NONE,
    wanted=blank,
    executed=blank,
    measured=blank,
    changed=np.zeros(action_dim, np.uint8),
    verdict='',
  )


class EpisodeRecord:
  """Counts and histograms of one episode of the loop.

  steps: control steps. overruns: deadlines that passed while the loop was
  busy. jumps: times that the clock went back. not_sent: steps without a
  command sent. changed: limit -> int [A], steps in which it changed an entry.
  """

  def __init__(self, action_dim: int):
    self.steps = 0
    self.overruns = 0
    self.jumps = 0
    self.not_sent = 0
    self.late, self.io, self.age = Histogram(), Histogram(), Histogram()
    self.sources: dict[str, int] = {}
    self.verdicts: dict[str, int] = {}
    self.changed = {x.name: np.zeros(action_dim, int) for x in Limit}

  def make_empty(self) -> 'EpisodeRecord':
    """Returns a record without steps, for the same arm."""
    return EpisodeRecord(len(self.changed[Limit.RANGE.name]))

  def add(self, step: LoopStep) -> None:
    """Adds one control step."""
    self.steps += 1
    self.late.add(step.late_s)
    self.io.add(step.io_s)
    self.age.add(step.inference_age_s)
    _count(self.sources, {step.source: 1})
    for limit in Limit:
      self.changed[limit.name] += (step.changed & limit) != 0
    if step.verdict:
      self.not_sent += 1
      # Only the rule: the numbers behind the colon differ at every step.
      _count(self.verdicts, {step.verdict.split(':')[0]: 1})

  def merge(self, other: 'EpisodeRecord') -> None:
    """Adds another episode, for the record of a run."""
    for name in ('steps', 'overruns', 'jumps', 'not_sent'):
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
      'steps': self.steps,
      'overruns': self.overruns,
      'clock_jumps': self.jumps,
      'not_sent': self.not_sent,
    }
    for attribute, name in _HISTOGRAMS.items():
      histogram = getattr(self, attribute)
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

  @classmethod
  def from_dict(cls, found: Mapping[str, Any]) -> 'EpisodeRecord':
    """Returns the record of `to_dict`.

    Raises:
      KeyError, TypeError, ValueError: it is not one of `to_dict`.
    """
    changed = {name.upper(): x for name, x in found['changed'].items()}
    record = cls(len(changed[Limit.RANGE.name]))
    for name, key in (
      ('steps', 'steps'), ('overruns', 'overruns'), ('jumps', 'clock_jumps'),
      ('not_sent', 'not_sent'), ('sources', 'sources'),
      ('verdicts', 'verdicts'),
    ):  # fmt: skip
      setattr(record, name, found[key])
    for name, key in _HISTOGRAMS.items():
      histogram = Histogram.from_dict(
        found[f'{key}_histogram'], found[f'{key}_worst_s']
      )
      setattr(record, name, histogram)
    record.changed = {x.name: np.array(changed[x.name]) for x in Limit}
    return record


def _count(total: dict[str, int], more: Mapping[str, int]) -> None:
  for name, number in more.items():
    total[name] = total.get(name, 0) + number
