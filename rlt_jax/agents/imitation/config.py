"""Settings of the imitation agent."""

import dataclasses

from rlt_jax.agents.agent import AgentConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImitationConfig(AgentConfig):
  """Numbers of the agent; `batch_size` is inherited."""

  hidden_dims: tuple[int, ...] = (256, 256)  # widths of the hidden layers
  exploration_std: float = 0.45  # of the noise, normalized action units
  # Share of rows, 0 to below 1, whose reference the actor reads as zero.
  reference_dropout: float = 0.5
  # Updates in one call from the host; more save the overhead of calls.
  updates_per_dispatch: int = 20
  learning_rate: float = 3e-4  # Adam

  def __post_init__(self):
    super().__post_init__()
    if not self.hidden_dims or min(self.hidden_dims) < 1:
      raise ValueError(
        f'hidden_dims must list positive widths: {self.hidden_dims}.'
      )
    if self.exploration_std < 0.0:
      raise ValueError(
        f'exploration_std must not be negative: {self.exploration_std}.'
      )
    if not 0.0 <= self.reference_dropout < 1.0:
      raise ValueError(
        f'reference_dropout must be in [0, 1): {self.reference_dropout}.'
      )
    if self.updates_per_dispatch < 1:
      raise ValueError(
        f'updates_per_dispatch must be at least 1: {self.updates_per_dispatch}.'
      )
    if self.learning_rate <= 0.0:
      raise ValueError(f'learning_rate must be positive: {self.learning_rate}.')
