"""Hyper-parameters of the update."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class UpdateConfig:
  """Numbers of one fused update; the discount lives in the rows.

  The exploration std of the target and of the actor loss is the actor's own,
  `AgentConfig.exploration_std`.
  """

  # Weight on the squared distance to the reference, SUMMED over the C*A
  # entries of the chunk, in normalised action units (demonstration std) and
  # for a reward of 1. For a loss averaged over the entries multiply by C*A.
  beta: float = 1.3e-4
  reference_dropout: float = 0.5  # rows whose actor input loses the reference
  batch_size: int = 64  # B, rows per critic step and per actor step
  critic_updates_per_actor: int = 2  # per actor step, a fresh batch each
  cycles: int = 50  # per dispatch; one cycle holds one actor step
  actor_lr: float = 3e-4  # Adam
  critic_lr: float = 3e-4  # Adam
  tau: float = 0.005  # Polyak weight on the online critics
  # Bounds on the critic's target: a reward of 1 at most once per episode
  # keeps true values within them. None for other rewards.
  target_clip: tuple[float, float] | None = (0.0, 1.0)

  def __post_init__(self):
    for name in ('batch_size', 'critic_updates_per_actor', 'cycles'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be at least 1: {getattr(self, name)}.')
    for name in ('actor_lr', 'critic_lr'):
      if getattr(self, name) <= 0.0:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')
    if self.beta < 0.0:
      raise ValueError(f'beta must not be negative: {self.beta}.')
    if not 0.0 <= self.reference_dropout < 1.0:
      raise ValueError(
        f'reference_dropout must be in [0, 1): {self.reference_dropout}.'
      )
    if not 0.0 < self.tau <= 1.0:
      raise ValueError(f'tau must be in (0, 1]: {self.tau}.')
    if self.target_clip and not self.target_clip[0] < self.target_clip[1]:
      raise ValueError(
        f'target_clip must be (low, high), low < high: {self.target_clip}.'
      )
