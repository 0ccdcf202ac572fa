"""Actor and critics of RLT (Eq. 3-4)."""

from rlt_jax.agent.networks import (
  act,
  Actor,
  AgentConfig,
  Critic,
  exploration_noise,
  make_networks,
  Networks,
  still,
)

__all__ = [
  'Actor',
  'AgentConfig',
  'Critic',
  'Networks',
  'act',
  'exploration_noise',
  'make_networks',
  'still',
]
