"""Settings of HIL-SERL (arXiv 2410.21845; code: rail-berkeley/hil-serl)."""

import dataclasses

from rlt_jax.agents.sac.config import SacConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class HilSerlConfig(SacConfig):
  """Settings of the agent; those of `SacConfig` are inherited and published."""

  # Largest action entry, normalized units (standard deviations of the
  # demonstrations' commands).
  bound: float = 2.5
  # Whether one action holds for all steps of a chunk: with chunks of 5 steps
  # the policy decides at 10 Hz, as published.
  hold: bool = False
  vla_share: float = 0.5  # of each batch, rows of prior data

  def __post_init__(self):
    super().__post_init__()
    if not self.bound > 0.0:
      raise ValueError(f'bound must be positive: {self.bound}.')
    if not 0.0 <= self.vla_share <= 1.0:
      raise ValueError(f'vla_share must be in [0, 1]: {self.vla_share}.')
