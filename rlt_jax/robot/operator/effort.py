"""The operator's effort: seconds of takeover and presses of buttons."""

from collections.abc import Iterable, Mapping
import math
from typing import Any

from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.operator.handover import Effects, Mode


class Effort:
  """Adds up the effort of control steps, episodes and the run.

  An operator is busy from a takeover to the release, aligning included. A
  discarded episode is not counted as an episode, but its effort is.
  """

  def __init__(self):
    self.episodes = self.successes = self.presses = 0
    self.human_s = 0.0
    self._episode_s, self._episode_presses = 0.0, 0

  def step(self, mode: Mode, effects: Effects, elapsed_s: float) -> None:
    """Adds one control step.

    Args:
      mode: of the handover after the step.
      effects: of the step; an accepted event is a press.
      elapsed_s: s, since the step before.

    Raises:
      ValueError: a time that is negative or not finite.
    """
    if not (math.isfinite(elapsed_s) and elapsed_s >= 0.0):
      raise ValueError(f'elapsed_s must be at least 0: {elapsed_s}.')
    if mode in (Mode.ALIGNING, Mode.HUMAN):
      self._episode_s += elapsed_s
    self._episode_presses += len(effects.accepted)

  def restore(self, rows: Iterable[Mapping[str, Any]]) -> None:
    """Goes on after episodes of before, with the columns of their rows."""
    for row in rows:
      self.human_s += row['human_s']
      self.presses += row['presses']
      self.episodes += row['outcome'] != Kind.RERECORD.value
      self.successes += row['outcome'] == Kind.SUCCESS.value

  def end(self, outcome: Kind) -> dict[str, float]:
    """Ends an episode and returns what it cost: `human_s` and `presses`."""
    cost = {'human_s': self._episode_s, 'presses': self._episode_presses}
    self.human_s += self._episode_s
    self.presses += self._episode_presses
    self._episode_s, self._episode_presses = 0.0, 0
    self.episodes += outcome is not Kind.RERECORD
    self.successes += outcome is Kind.SUCCESS
    return cost

  def report(self) -> dict[str, float | None]:
    """Returns the metrics of the ended episodes; None instead of x / 0."""
    return {
      'episodes': self.episodes,
      'successes': self.successes,
      'human_s': self.human_s,
      'presses': self.presses,
      'human_s_per_episode': _ratio(self.human_s, self.episodes),
      'presses_per_episode': _ratio(self.presses, self.episodes),
      'human_s_per_success': _ratio(self.human_s, self.successes),
      'presses_per_success': _ratio(self.presses, self.successes),
    }


def _ratio(total: float, count: int) -> float | None:
  return total / count if count else None
