"""Settings of the RLT agent: networks, exploration and update."""

import dataclasses

from rlt_jax.agents.agent import AgentConfig

NOISE_KINDS = ('per_chunk', 'per_step')
_COUNTS = ('critic_updates_per_actor', 'cycles_per_dispatch')


@dataclasses.dataclass(frozen=True, kw_only=True)
class RltConfig(AgentConfig):
  """Settings of the agent; the discount is stored in the replay rows.

  Each critic step draws `batch_size` rows (inherited field); the actor step
  uses the last batch of its cycle.
  """

  hidden_dims: tuple[int, ...] = (256, 256)  # widths of the hidden layers
  # Critics (Q). The target takes the smallest value of them.
  num_critics: int = 2
  # Normalized action units. With the shipped VLA one unit moves the tip by one
  # to two mm, so 0.45 explores about 0.7 mm, about the clearance of the socket.
  # At 0.3 two seeds of two learned later; at 0.075 they hardly learned.
  exploration_std: float = 0.45
  # 'per_chunk', one draw for all steps of a chunk, which moves the arm instead
  # of shaking it; or 'per_step'.
  exploration_noise: str = 'per_chunk'
  # Whether the actor reads the reference chunk; false never shows it.
  reference_input: bool = True
  # LayerNorm in the critics; without it their values diverge.
  layer_norm: bool = True
  # Action entries that are always 0, such as a resting arm's joints; none takes
  # those of the task. If they were free, errors of the critics would let them
  # drift until the images differ from all that the frozen VLA was trained on.
  # The networks neither read nor write them.
  frozen_action_dims: tuple[int, ...] | None = None
  # Weight on the squared distance to the reference, SUMMED over the C*A
  # entries of the chunk, in normalized action units (demonstration std) and
  # for a reward of 1. For a loss averaged over the entries multiply by C*A.
  # A run prints a diagnosis of beta (see beta.py). At half of the default
  # practice does not improve during the first minutes.
  beta: float = 0.003
  # Share of rows, 0 to below 1, whose reference the actor reads as zero, so
  # that it does not only copy it.
  reference_dropout: float = 0.5
  # Critic steps per actor step, a fresh batch each.
  critic_updates_per_actor: int = 2
  # Cycles (critic steps and an actor step) per call from the host; with 10 the
  # overhead of the call is negligible.
  cycles_per_dispatch: int = 10
  actor_lr: float = 3e-4  # learning rate of the actor, Adam
  critic_lr: float = 3e-4  # learning rate of the critics, Adam
  # Weight of the online critics in the moving average of the target critics,
  # above 0 and at most 1, per critic step.
  tau: float = 0.005
  # Bounds on the critic's target: a reward of 1 at most once per episode
  # keeps true values within them. None for other rewards.
  target_clip: tuple[float, float] | None = (0.0, 1.0)

  def __post_init__(self):
    super().__post_init__()
    self._check_networks()
    self._check_update()

  def _check_networks(self) -> None:
    if not self.hidden_dims or min(self.hidden_dims) < 1:
      raise ValueError(
        f'hidden_dims must list positive widths: {self.hidden_dims}.'
      )
    if self.num_critics < 1:
      raise ValueError(f'num_critics must be at least 1: {self.num_critics}.')
    if any(i < 0 for i in self.frozen_action_dims or ()):
      raise ValueError(
        f'frozen_action_dims must not be negative: {self.frozen_action_dims}.'
      )
    if self.exploration_std < 0.0:
      raise ValueError(
        f'exploration_std must not be negative: {self.exploration_std}.'
      )
    if self.exploration_noise not in NOISE_KINDS:
      raise ValueError(
        f'exploration_noise must be one of {NOISE_KINDS}: '
        f'{self.exploration_noise!r}.'
      )

  def _check_update(self) -> None:
    for name in _COUNTS:
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
