"""Settings, progress and result of an episode on the robot."""

import dataclasses
from typing import NamedTuple

from rlt_jax.robot.outcomes import EpisodeOutcome

# 'base': the VLA alone. 'practice': with exploration, recorded to learn from.
# 'evaluation': the mean of the actor.
MODES = ('base', 'practice', 'evaluation')


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpisodeConfig:
  """Settings of an episode.

  time_limit: longest critical phase, control steps. start_in_critical_phase:
  no approach comes before it. vla_warmup_steps: control steps of practice
  that the VLA drives. open_loop_steps: steps of the VLA's chunk that the base
  policy runs. starved_steps: control steps to wait at the end of a chunk for
  the next one; then the arm holds. answer_timeout_s: for the VLA queries that
  are retried during a hold. seed: of the exploration noise, one number or more.
  """

  time_limit: int
  start_in_critical_phase: bool
  vla_warmup_steps: int = 6_000
  open_loop_steps: int = 20
  starved_steps: int = 15
  answer_timeout_s: float = 30.0
  seed: int | tuple[int, ...] = 0

  def __post_init__(self):
    for name in ('time_limit', 'open_loop_steps'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be at least 1: {getattr(self, name)}.')
    for name in ('vla_warmup_steps', 'starved_steps', 'answer_timeout_s'):
      if getattr(self, name) < 0:
        raise ValueError(f'{name} must be at least 0: {getattr(self, name)}.')


@dataclasses.dataclass(kw_only=True)
class EpisodeProgress:
  """Where the current episode is.

  mode: of MODES; '' before the first. critical: its critical phase has begun.
  steps: control steps of the critical phase. practice_steps: control steps of
  practice of the whole run.
  """

  mode: str = ''
  critical: bool = False
  steps: int = 0
  practice_steps: int = 0

  @property
  def recorded(self) -> bool:
    """Whether control steps go to the journal."""
    return self.mode == 'practice' and self.critical

  @property
  def paced(self) -> bool:
    """Whether chunks follow each other whole, as in simulation.

    Each then waits for what is observed near the end of the one before.
    """
    return self.mode != 'base' and self.critical


class EpisodeResult(NamedTuple):
  """One episode.

  mode: of MODES. steps: control steps of the critical phase. cause: why it was
  cut short; may be empty. human_s, presses: the operator's effort.
  late_queries: VLA queries of recorded steps that were answered only during a
  hold. missing_queries: that were never answered.
  """

  mode: str
  outcome: EpisodeOutcome
  steps: int
  cause: str
  human_s: float
  presses: int
  late_queries: int
  missing_queries: int
