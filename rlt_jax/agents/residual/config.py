"""Settings of the residual policy, after PLD (arXiv 2511.00091)."""

import dataclasses

from rlt_jax.agents.sac.config import SacConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResidualConfig(SacConfig):
  """Settings of the agent; those of `SacConfig` are inherited.

  PLD publishes a temperature of 1 at the beginning, for values of another
  scale; with it the residual is white noise here.
  """

  # Largest residual of an action entry (xi), normalized units. Published: 0.1
  # to 0.5 of the action range; RLT explores with 0.45 of this unit.
  bound: float = 0.5
  # Critic updates on the VLA's rows before the actor learns: those of a warm-up
  # of 6,000 control steps, with 125 a robot second.
  pretrain_updates: int = 13_000
  # Weight of the conservative term (Cal-QL, arXiv 2303.05479) while they last;
  # 1 is Cal-QL's for sparse rewards. 0 leaves it out.
  conservative_weight: float = 1.0
  # Actions drawn for that term, uniform ones and the policy's, as many of each.
  conservative_samples: int = 10
  vla_share: float = 0.5  # of each batch, rows that the VLA drove

  def __post_init__(self):
    super().__post_init__()
    if not self.bound > 0.0:
      raise ValueError(f'bound must be positive: {self.bound}.')
    if self.pretrain_updates < 0:
      raise ValueError(
        f'pretrain_updates must not be negative: {self.pretrain_updates}.'
      )
    if self.conservative_weight < 0.0:
      raise ValueError(
        f'conservative_weight must not be negative: {self.conservative_weight}.'
      )
    if self.conservative_samples < 1:
      raise ValueError(
        f'conservative_samples must be at least 1: {self.conservative_samples}.'
      )
    if not 0.0 <= self.vla_share <= 1.0:
      raise ValueError(f'vla_share must be in [0, 1]: {self.vla_share}.')
