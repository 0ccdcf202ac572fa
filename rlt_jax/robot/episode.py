"""What an attempt is, and how attempts go."""

import dataclasses
from typing import NamedTuple

MODES = ('base', 'practice', 'evaluation')


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpisodeConfig:
  """Settings of an episode.

  time_limit: longest critical phase, control steps. start_in_critical_phase:
  no approach comes before it. vla_warmup_steps: control steps of practice
  that the VLA drives. open_loop_steps: steps of the VLA's chunk that the base
  policy runs. replay_stride: control steps between two recorded observations.
  starved_steps: control steps to wait at the end of a chunk for the next one;
  then the arm holds. answer_timeout_s: for the VLA queries that are retried
  during a hold. seed: of the exploration noise.
  """

  time_limit: int
  start_in_critical_phase: bool
  vla_warmup_steps: int = 6_000
  open_loop_steps: int = 20
  replay_stride: int = 2
  starved_steps: int = 15
  answer_timeout_s: float = 30.0
  seed: int = 0

  def __post_init__(self):
    for name in ('time_limit', 'open_loop_steps', 'replay_stride'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be at least 1: {getattr(self, name)}.')
    for name in ('vla_warmup_steps', 'starved_steps', 'answer_timeout_s'):
      if getattr(self, name) < 0:
        raise ValueError(f'{name} must be at least 0: {getattr(self, name)}.')


class Attempt(NamedTuple):
  """One attempt. mode: of MODES. outcome: of `episodes.OUTCOMES`. steps: of the
  critical phase. cause: why it was cut short, in words. human_s, presses: what
  it cost the person. backfilled, gaps: of its looks, see `EpisodeRecorder`."""

  mode: str
  outcome: str
  steps: int
  cause: str
  human_s: float
  presses: int
  backfilled: int
  gaps: int
