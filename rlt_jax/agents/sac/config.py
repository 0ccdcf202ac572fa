"""Settings of soft actor-critic (arXiv 1812.05905)."""

import dataclasses

from rlt_jax.agents import networks
from rlt_jax.agents.agent import AgentConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class SacConfig(AgentConfig):
  """Settings that the methods share; each method's own class adds to them.

  Values of entropy are per entry of the action: a sum over the entries would
  mean another policy for each length of a chunk.
  """

  hidden_dims: tuple[int, ...] = (256, 256)  # widths of the hidden layers
  num_critics: int = 2  # the target takes the smallest value of them
  # Of how many of them, drawn anew for each batch (RLPD, REDQ); 0 is all.
  target_critics: int = dataclasses.field(default=0, metadata={'absent': 0})
  layer_norm: bool = True  # in the critics
  actor_lr: float = 3e-4  # Adam
  critic_lr: float = 3e-4  # Adam
  temperature_lr: float = 3e-4  # Adam, of the temperature's logarithm
  # Weight of the entropy at the beginning. A reward of 1 at most once makes
  # values of at most 1.
  init_temperature: float = 0.01
  # Entropy that the temperature is adjusted to, nats per entry of the action
  # in units of the squashed range [-1, 1]. -0.5 is a sigma of about 0.15.
  target_entropy: float = -0.5
  # Sigma of the policy before squashing, at the beginning.
  init_std: float = 0.5
  tau: float = 0.005  # see the other agents
  target_clip: tuple[float, float] | None = (0.0, 1.0)  # see the other agents
  critic_updates_per_actor: int = 2  # a fresh batch each
  cycles_per_dispatch: int = 10  # critic and actor steps in one call

  def __post_init__(self):
    super().__post_init__()
    networks.check_critics(self.hidden_dims, self.tau, self.target_clip)
    if not 0 <= self.target_critics <= self.num_critics:
      raise ValueError(
        f'target_critics must be 0 to num_critics {self.num_critics}: '
        f'{self.target_critics}.'
      )
    networks.check_rates(
      actor_lr=self.actor_lr,
      critic_lr=self.critic_lr,
      temperature_lr=self.temperature_lr,
      init_temperature=self.init_temperature,
      init_std=self.init_std,
    )
    networks.check_counts(
      num_critics=self.num_critics,
      critic_updates_per_actor=self.critic_updates_per_actor,
      cycles_per_dispatch=self.cycles_per_dispatch,
    )
